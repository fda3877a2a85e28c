import * as vscode from 'vscode';
import { documentOf } from './documents';

/**
 * The editor's services that parse a text and ask for nothing else. What others say of a preview, such as that its
 * imports lead nowhere, says nothing about the file.
 */
const PARSERS: ReadonlySet<string | undefined> = new Set([
  ...['ts', 'js', 'json', 'jsonc', 'css', 'scss', 'less'],
  // Of scripts in HTML.
  'javascript',
]);
/** A service that has not spoken by then will not be waited for. Milliseconds. */
const GIVE_UP_AFTER_MS = 5_000;
/** Some speak in several steps. Milliseconds. */
const SETTLED_AFTER_MS = 700;

/**
 * The errors that a preview has and its file has not, as the editor's own language services see them. None may mean
 * that nobody looked: not every language has such a service, and not every one is quick. Call it before the editor has
 * the preview's last text, which is given.
 */
export async function newErrors(
  preview: vscode.Uri,
  file: vscode.Uri,
  text: string,
  signal: AbortSignal,
): Promise<vscode.Diagnostic[]> {
  if (!(await isTold(preview, text, signal))) return [];
  const [document, original] = [preview, file].map(documentOf);
  // Another language than that of the file has other errors.
  if (!document || document.languageId !== original?.languageId) return [];
  const known = errorsOf(file).map(keyOf);
  return errorsOf(preview).filter((error) => {
    const at = known.indexOf(keyOf(error));
    if (at >= 0) known.splice(at, 1);
    return at < 0;
  });
}

/** `The draft has an error that main.ts does not have. Line 3: ',' expected.` */
export function errorsText(errors: readonly vscode.Diagnostic[], name: string): string {
  const [first, ...others] = errors.toSorted((a, b) => a.range.start.compareTo(b.range.start));
  if (!first) return '';
  const many = others.length > 0 ? `${errors.length} errors` : 'an error';
  const place = `${others.length > 0 ? 'The first is in line' : 'Line'} ${first.range.start.line + 1}`;
  return `The draft has ${many} that ${name} does not have. ${place}: ${first.message}`;
}

/** Whether diagnostics came that are about this text, and not about how far it was while it was written. */
function isTold(preview: vscode.Uri, text: string, signal: AbortSignal): Promise<boolean> {
  const key = preview.toString();
  return new Promise((resolve) => {
    let settling: NodeJS.Timeout | undefined;
    const end = (told: boolean) => (): void => {
      clearTimeout(settling);
      clearTimeout(givingUp);
      listener.dispose();
      signal.removeEventListener('abort', stop);
      resolve(told);
    };
    const stop = end(false);
    const givingUp = setTimeout(() => end(settling !== undefined)(), GIVE_UP_AFTER_MS);
    const listener = vscode.languages.onDidChangeDiagnostics(({ uris }) => {
      if (!uris.some((uri) => uri.toString() === key)) return;
      if (linesOf(documentOf(preview)?.getText()) !== linesOf(text)) return;
      clearTimeout(settling);
      settling = setTimeout(end(true), SETTLED_AFTER_MS);
    });
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
  });
}

/** A document has lines of one kind, whatever it was given. */
function linesOf(text: string | undefined): string | undefined {
  return text?.replace(/\r\n?/g, '\n');
}

function errorsOf(uri: vscode.Uri): vscode.Diagnostic[] {
  return vscode.languages
    .getDiagnostics(uri)
    .filter(
      ({ severity, source }) =>
        severity === vscode.DiagnosticSeverity.Error && PARSERS.has(source?.toLowerCase()),
    );
}

/** The same error, wherever it is: a draft moves lines. */
function keyOf({ source, message }: vscode.Diagnostic): string {
  return `${source}: ${message}`;
}
