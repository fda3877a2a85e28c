import * as l10n from '@vscode/l10n';

/*
 * The extension writes the language and its texts on the page, so that they are there before anything is shown. A
 * text without a translation stays English.
 */
interface Page {
  lang: string;
  dataset: Partial<Record<string, string>>;
}
// Where the code is tested there is no page.
const page = (globalThis as { document?: { documentElement: Page } }).document?.documentElement;
const texts = page?.dataset.texts;
if (texts) l10n.config({ contents: texts });

/** For numbers and dates. */
export const locale = page?.lang || 'en';

/**
 * A text for the person: `t('{0} of {1} calls', shown, all)`. The English text is the key of the bundles in `l10n`, so
 * it has to stand in the call itself. One and many are two texts.
 */
export const t = (text: string, ...values: (string | number)[]): string => l10n.t(text, ...values);
