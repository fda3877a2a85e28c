/**
 * Words that are not the product's own, as the editor shows them: it makes links of `[text](address)` in its messages
 * and boxes, of commands too, and icons of `$(name)` in its lists. Names of files and branches, what servers say and
 * what models wrote may hold both.
 */
export function plain(text: string): string {
  return text.replace(/\](?=\()|\$(?=\()/g, '$& ');
}
