import assert from 'node:assert/strict';
import * as vscode from 'vscode';

describe('the extension host', () => {
  it('is a VS Code that the manifest allows', () => {
    const [major, minor] = vscode.version.split('.').map(Number);
    assert.ok(major! > 1 || minor! >= 127, `found VS Code ${vscode.version}`);
  });

  it('has the extension', () => {
    assert.ok(vscode.extensions.getExtension('ollama-intern.ollama-intern'));
  });
});
