/** Drafts: small valid programs built around the names that the instruction gives. */
import { contentWords, identifiers, type Prompt } from './prompt';

interface Language {
  tag: string;
  mention: RegExp;
  write: (names: Names) => string;
}

interface Names {
  name: string;
  others: string[];
  purpose: string;
}

const camel = (name: string) =>
  name.replace(/_+(\w)/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replace(/(\p{Ll})(\p{Lu})/gu, '$1_$2').toLowerCase();
const listing = (names: string[]) => names.map((name) => `'${name}'`).join(', ');
const doubled = (names: string[]) => names.map((name) => `"${name}"`).join(', ');

/** More specific names first: TypeScript before JavaScript before Java, Go after the others. */
const LANGUAGES: Language[] = [
  {
    tag: 'typescript',
    mention: /\b(typescript|tsx?)\b|```ts/i,
    write: ({ name, others, purpose }) =>
      `/** ${purpose} */\nexport function ${camel(name)}(input: string): string {\n` +
      `  const related: string[] = [${listing(others)}];\n` +
      "  return [input, ...related].join(' ').trim();\n}\n",
  },
  {
    tag: 'python',
    mention: /\b(python|py|pytest)\b/i,
    write: ({ name, others, purpose }) =>
      `def ${name}(value):\n    """${purpose}"""\n    related = [${doubled(others)}]\n` +
      '    return " ".join([str(value), *related]).strip()\n',
  },
  {
    tag: 'json',
    mention: /\bjson (file|document|config)/i,
    write: ({ name, others, purpose }) =>
      `${JSON.stringify({ name, description: purpose, related: others }, null, 2)}\n`,
  },
  {
    tag: 'sql',
    mention: /\bsql\b/i,
    write: ({ name, others, purpose }) =>
      `-- ${purpose}\nSELECT ${others.map(snake).join(', ') || '*'}\nFROM ${snake(name)};\n`,
  },
  {
    tag: 'rust',
    mention: /\brust\b/i,
    write: ({ name, others, purpose }) =>
      `/// ${purpose}\npub fn ${snake(name)}(input: &str) -> String {\n` +
      `    let related: Vec<&str> = vec![${doubled(others)}];\n` +
      '    format!("{} {}", input, related.join(" ")).trim().to_string()\n}\n',
  },
  {
    tag: 'java',
    mention: /\bjava\b/i,
    write: ({ name, others, purpose }) =>
      `/** ${purpose} */\npublic final class Draft {\n` +
      `    public static String ${camel(name)}(String input) {\n` +
      `        String[] related = {${doubled(others)}};\n` +
      '        return (input + " " + String.join(" ", related)).trim();\n    }\n}\n',
  },
  {
    tag: 'go',
    mention: /\b(golang|in go|go (function|code|program|test))\b/i,
    write: ({ name, others, purpose }) =>
      `package draft\n\nimport "strings"\n\n// ${name}: ${purpose}\n` +
      `func ${name}(input string) string {\n\trelated := []string{${doubled(others)}}\n` +
      '\treturn strings.TrimSpace(input + " " + strings.Join(related, " "))\n}\n',
  },
  {
    tag: 'bash',
    mention: /\b(bash|shell)\b/i,
    write: ({ name, purpose }) =>
      `#!/usr/bin/env bash\n# ${purpose}\n${snake(name)}() {\n  printf '%s\\n' "$*"\n}\n`,
  },
  {
    tag: 'javascript',
    mention: /\b(javascript|jsx?|node)\b/i,
    write: ({ name, others, purpose }) =>
      `/** ${purpose} */\nexport function ${camel(name)}(input) {\n` +
      `  const related = [${listing(others)}];\n` +
      "  return [input, ...related].join(' ').trim();\n}\n",
  },
];

const ASKS_FOR_CODE =
  /\b(write|draft|generate|implement|create|add|scaffold|complete|refactor|rewrite|fix)\b[\s\S]{0,80}\b(code|function|method|class|component|test|script|module|interface|type|query|program|snippet|endpoint|helper|hook|handler|implementation)/i;
const NO_FENCES =
  /\b(only|just|nothing but)\b[^.\n]{0,40}\b(code|file|source|contents?)\b|\b(code|file contents?) only\b|\b(no|without|not)\b[^.\n]{0,40}\b(markdown|fences?|fenced|backticks|prose|explanations?|commentary)\b/i;

export function asksForCode(prompt: Prompt): boolean {
  return ASKS_FOR_CODE.test(prompt.instruction) || ASKS_FOR_CODE.test(prompt.source.slice(0, 500));
}

export function draft(prompt: Prompt): string {
  const language = languageOf(prompt.whole);
  const code = language.write(namesOf(prompt));
  if (NO_FENCES.test(prompt.whole)) return code;
  return `Here is a draft:\n\n\`\`\`${language.tag}\n${code}\`\`\`\n`;
}

function languageOf(text: string): Language {
  const fallback = LANGUAGES[0] as Language;
  return LANGUAGES.find(({ mention }) => mention.test(text)) ?? fallback;
}

const RESERVED = new Set(['function', 'class', 'return', 'default', 'new', 'if', 'for', 'while']);

function namesOf(prompt: Prompt): Names {
  const found = identifiers(`${prompt.source}\n${prompt.instruction}`).filter(
    (name) => !RESERVED.has(name),
  );
  const [name = 'draft', ...others] = found;
  const topics = [...new Set(contentWords(prompt.source))].slice(0, 8).join(' ');
  return {
    name,
    others: others.slice(0, 6),
    purpose: topics.replace(/[^\p{L}\p{N} ]/gu, '') || 'A draft',
  };
}
