import '@vscode-elements/elements/dist/vscode-icon/index.js';
import '@vscode-elements/elements/dist/vscode-textfield/index.js';
import '@vscode-elements/elements/dist/vscode-toolbar-button/index.js';
import { mount } from 'svelte';
import * as z from 'zod/mini';
import App from './App.svelte';
import './base.css';

// The content security policy forbids eval, which zod would otherwise try.
z.config({ jitless: true });

mount(App, { target: document.body });
