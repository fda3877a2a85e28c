/** Names that would let the person's own set-up reach a test, or make a workbench join a running VS Code. */
const foreign =
  /^(?:OLLAMA_|INTERN_|VSCODE_|ELECTRON_|NODE_OPTIONS$|NODE_V8_COVERAGE$|CS_)|_proxy$/i;

/** The environment of a window under test: this one, less what is personal, plus what the caller wants. */
export function testEnvironment(
  home: string,
  extra: Record<string, string | undefined> = {},
): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return {
    ...Object.fromEntries(inherited),
    HOME: home,
    USERPROFILE: home,
    EXTENSIONS_GALLERY: '{}',
    ...extra,
  };
}
