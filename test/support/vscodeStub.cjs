'use strict';
/**
 * Just enough of the `vscode` module to load and activate the bundle in plain Node. Everything can be called and
 * everything exists; nothing does anything.
 */
const Module = require('node:module');

const anything = new Proxy(function () {}, {
  get: (_, key) => {
    if (key === Symbol.toPrimitive) return () => '';
    if (key === Symbol.iterator) return function* () {};
    if (key === 'then') return undefined;
    return anything;
  },
  set: () => true,
  apply: () => anything,
  construct: () => anything,
});

const workspace = new Proxy(
  { getConfiguration: () => ({ inspect: () => undefined, get: () => undefined }) },
  { get: (target, key) => target[key] ?? anything },
);

class EventEmitter {
  event = () => ({ dispose() {} });
  fire() {}
  dispose() {}
}

// The bundle copies the module's own keys, so the names have to be real.
const names = [
  'CodeAction',
  'CodeActionKind',
  'CommentMode',
  'CommentThreadCollapsibleState',
  'CommentThreadState',
  'ConfigurationTarget',
  'Diagnostic',
  'DiagnosticSeverity',
  'Disposable',
  'FilePermission',
  'MarkdownString',
  'Position',
  'ProgressLocation',
  'QuickPickItemKind',
  'Range',
  'RelativePattern',
  'Selection',
];
names.push(
  'StatusBarAlignment',
  'TabInputCustom',
  'TabInputText',
  'TabInputTextDiff',
  'TextEditorRevealType',
);
names.push(
  'ThemeColor',
  'Uri',
  'ViewColumn',
  'WorkspaceEdit',
  'chat',
  'commands',
  'comments',
  'env',
  'lm',
  'extensions',
  'languages',
  'window',
);
const vscode = {
  ...Object.fromEntries(names.map((name) => [name, anything])),
  workspace,
  EventEmitter,
};

const load = Module._load;
Module._load = function (request, ...rest) {
  return request === 'vscode' ? vscode : load.call(this, request, ...rest);
};

/** The context that `activate` gets. */
exports.context = () => ({
  subscriptions: [],
  extension: { packageJSON: require('../../package.json') },
  globalState: { get: () => undefined, update: async () => {} },
  extensionUri: anything,
  secrets: anything,
});
