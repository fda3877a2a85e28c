/** Model names as Ollama reads them: `[host/][namespace/]name[:tag]`. `name` means `name:latest`. */

const TAG = /:[^/:]+$/;

/** The name with its tag spelled out. */
export function withTag(name: string): string {
  const trimmed = name.trim();
  return TAG.test(trimmed) ? trimmed : `${trimmed}:latest`;
}

/** One spelling for every way of writing the same model; for comparing, not for showing. */
export function modelKey(name: string): string {
  return withTag(name)
    .toLowerCase()
    .replace(/^registry\.ollama\.ai\//, '')
    .replace(/^library\//, '');
}

export function sameModel(a: string, b: string): boolean {
  return modelKey(a) === modelKey(b);
}

/** Names that a signed-in daemon runs in the cloud: `m:cloud`, `m:20b-cloud`, in any case. */
export function isCloudName(name: string): boolean {
  return /:(?:[^/:]+-)?cloud$/i.test(name.trim());
}

/** Whether a setting's text can be a model name at all. Deliberately wide: the server has the last word. */
export function isPlausibleModelName(name: string): boolean {
  return /^[\w.-]+(?::\d+)?(?:\/[\w.-]+)*(?::[\w.-]+){0,2}$/.test(name.trim());
}

/** The name under which the cloud itself knows a model: `gpt-oss:120b-cloud` is `gpt-oss:120b` there. */
export function cloudBaseName(name: string): string {
  const trimmed = name.trim();
  return isCloudName(trimmed) ? trimmed.replace(/[:-]cloud$/i, '') : trimmed;
}
