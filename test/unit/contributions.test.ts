import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cardOf, jobNames, slashCommands, toolSchema } from '../../src/core';
import { isPlausibleModelName } from '../../src/core/ollama/names';
import { BUILTIN_PROFILES, generationOptionsSchema } from '../../src/core/routing/profiles';
import { CLOUD_MODES, REMOTE_BUDGET_MS, resolveCloud } from '../../src/core/routing/cloud';
import { GENERATIVE_TIERS, LOCAL_BUDGET_MS, TIERS } from '../../src/core/routing/tiers';
import type { ConfigProblem } from '../../src/core/values';
import { JOBS } from '../../src/core/jobs/registry';
import { holds, keysOf } from '../../src/host/when';
import {
  COMMAND_JOBS,
  CHAT_PARTICIPANT,
  TOOL_PREFIX,
  COMMANDS,
  CONFIG_SECTION,
  CONTEXTS,
  EXTENSION_ID,
  MODEL_VENDOR,
  SCHEMES,
  SETTINGS,
  VIEWS,
} from '../../src/host/ids';
import { manifest as manifestIn } from '../support/manifest';

interface Property {
  type: string | string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  scope?: string;
  pattern?: string;
  enum?: string[];
  enumDescriptions?: string[];
  items?: Property;
  examples?: string[];
  description?: string;
  markdownDescription?: string;
  properties?: Record<string, Property>;
  additionalProperties?: boolean | Property;
}

interface MenuItem {
  command?: string;
  submenu?: string;
  when?: string;
}

interface Manifest {
  name: string;
  publisher: string;
  activationEvents: string[];
  icon: string;
  main: string;
  contributes: {
    commands: { command: string; title: string; category?: string; icon?: string }[];
    submenus: { id: string; label: string }[];
    menus: Record<string, MenuItem[]>;
    keybindings: { command: string; key: string; mac?: string; when?: string }[];
    configuration: { title: string; properties: Record<string, Property> }[];
    languages: { id: string }[];
    grammars: { language: string; path: string }[];
    configurationDefaults: Record<string, unknown>;
    languageModelChatProviders: { vendor: string; displayName: string }[];
    views?: Record<string, { id: string }[]>;
    languageModelTools: unknown[];
    walkthroughs: {
      id: string;
      steps: {
        id: string;
        description: string;
        media: { image: string; altText: string };
        completionEvents: string[];
      }[];
    }[];
    chatParticipants: {
      id: string;
      name: string;
      isSticky: boolean;
      commands: { name: string; description: string; sampleRequest: string }[];
      disambiguation: { category: string; description: string; examples: string[] }[];
    }[];
  };
  capabilities: {
    untrustedWorkspaces: { supported: unknown; restrictedConfigurations: string[] };
    virtualWorkspaces: { supported: unknown; description: string };
  };
}

const root = join(__dirname, '..', '..');
const manifest = manifestIn() as Manifest;
const { contributes } = manifest;
const properties = Object.assign(
  {},
  ...contributes.configuration.map((group) => group.properties),
) as Record<string, Property>;
const setting = (key: string): Property => {
  const found = properties[`${CONFIG_SECTION}.${key}`];
  assert.ok(found, `no setting ${key}`);
  return found;
};
const commandIds = contributes.commands.map((entry) => entry.command);
/** What can be run at any time, if only to say that there is nothing to do. */
const ALWAYS = [
  COMMANDS.runJob,
  // Without a selection it searches in the clipboard.
  COMMANDS.searchByMeaning,
  COMMANDS.stopCall,
  COMMANDS.showLog,
  COMMANDS.tailLog,
  COMMANDS.openLogFile,
  COMMANDS.showDashboard,
  COMMANDS.selectProfile,
  COMMANDS.pullModel,
  COMMANDS.loadModels,
  COMMANDS.setServerToken,
  COMMANDS.clearServerToken,
  COMMANDS.setCloudKey,
  COMMANDS.clearCloudKey,
  COMMANDS.enableCloud,
  COMMANDS.openSettings,
  COMMANDS.openArtifact,
];
const sorted = (values: Iterable<string>) => [...values].sort();

describe('package.json', () => {
  it('has the id that the code refers to', () => {
    assert.equal(`${manifest.publisher}.${manifest.name}`, EXTENSION_ID);
  });

  describe('commands', () => {
    it('are those of the code, each once', () => {
      assert.deepEqual(sorted(commandIds), sorted(Object.values(COMMANDS)));
      assert.equal(new Set(commandIds).size, commandIds.length);
    });

    it('are called in the code as they are in the manifest', () => {
      for (const [name, id] of Object.entries(COMMANDS)) assert.equal(id, `ollamaIntern.${name}`);
    });

    for (const { command, title, category } of contributes.commands) {
      it(`${command} has a title in title case under the product's category`, () => {
        assert.equal(category, 'Ollama Intern');
        assert.match(title, /^[A-Z]\S*( ([A-Z]\S*|a|an|as|by|for|from|in|of|the|to|with))*$/);
        assert.doesNotMatch(title, /[.!:]$|Ollama Intern/);
      });
    }

    it('run every job there is', () => {
      assert.deepEqual(sorted(new Set(Object.values(COMMAND_JOBS))), sorted(Object.keys(JOBS)));
    });

    it('in menus and keybindings exist', () => {
      const used = [...Object.values(contributes.menus).flat(), ...contributes.keybindings];
      for (const { command } of used) {
        if (command) assert.ok(commandIds.includes(command), command);
      }
    });

    it('with a place in a title bar have an icon', () => {
      for (const { command } of contributes.menus['editor/title'] ?? []) {
        const entry = contributes.commands.find((one) => one.command === command);
        assert.match(entry?.icon ?? '', /^\$\([\w-]+\)$/, command);
      }
    });

    it('on keys have one for the Mac too, and never take a key everywhere', () => {
      for (const { command, mac, when } of contributes.keybindings) {
        assert.ok(mac, command);
        assert.ok(when, command);
      }
    });
  });

  describe('menus', () => {
    it('refer to submenus that exist, and every submenu is used and filled', () => {
      const used = Object.values(contributes.menus)
        .flat()
        .flatMap(({ submenu }) => submenu ?? []);
      const declared = contributes.submenus.map(({ id }) => id);
      assert.deepEqual(sorted(new Set(used)), sorted(declared));
      for (const id of declared) assert.ok((contributes.menus[id]?.length ?? 0) > 0, id);
    });

    it('ask only for the context keys and schemes that the code sets', () => {
      const items = [...Object.values(contributes.menus).flat(), ...contributes.keybindings];
      const clauses = items.map(({ when }) => when ?? '').join(' && ');
      const keys = clauses.match(/ollamaIntern\.\w+/g) ?? [];
      assert.ok(keys.length > 0);
      for (const key of keys) assert.ok((Object.values(CONTEXTS) as string[]).includes(key), key);
      const schemes = [...clauses.matchAll(/resourceScheme [!=]= ([\w-]+)/g)].map(([, s]) => s);
      assert.ok(schemes.length > 0);
      for (const scheme of schemes) {
        assert.ok((Object.values(SCHEMES) as string[]).includes(scheme ?? ''), scheme);
      }
    });

    it('hide from the palette what cannot work, each command once', () => {
      const palette = contributes.menus.commandPalette ?? [];
      const hidden = palette.map(({ command }) => command ?? '');
      assert.deepEqual(sorted([...hidden, ...ALWAYS]), sorted(commandIds));
      for (const { command, when } of palette) assert.ok((when ?? '').trim(), command);
    });

    it('have conditions in the palette that Run Job understands', () => {
      for (const { when } of contributes.menus.commandPalette ?? []) {
        assert.ok(keysOf(when ?? '').length > 0, when);
      }
    });

    it('offer what reads files from the disk only where there is one', () => {
      const items = Object.values(contributes.menus).flat();
      for (const id of [COMMANDS.askFiles, COMMANDS.summarizeFiles, COMMANDS.classifyFiles]) {
        const clauses = items.filter(({ command }) => command === id).map(({ when }) => when ?? '');
        assert.equal(clauses.length, 2, id);
        for (const clause of clauses) {
          const context = { isFileSystemResource: true, workspaceFolderCount: 1 };
          assert.ok(holds(clause, valuesOf({ ...context, virtualWorkspace: '' })), clause);
          assert.ok(!holds(clause, valuesOf({ ...context, virtualWorkspace: 'memfs' })), clause);
        }
      }
      const { supported, description } = manifest.capabilities.virtualWorkspaces;
      assert.equal(supported, 'limited');
      for (const id of [COMMANDS.askFiles, COMMANDS.summarizeFiles, COMMANDS.classifyFiles]) {
        const entry = contributes.commands.find(({ command }) => command === id);
        assert.ok(description.includes(entry?.title ?? id), id);
      }
    });

    it('start programs only in a folder that is trusted, and ask Git only where it runs', () => {
      const clause = (id: string) =>
        contributes.menus.commandPalette?.find(({ command }) => command === id)?.when;
      assert.equal(clause(COMMANDS.startServer), 'isWorkspaceTrusted');
      // The editor’s Git support is off in a folder that is not trusted.
      for (const id of [
        COMMANDS.writeCommitMessage,
        COMMANDS.reviewChanges,
        COMMANDS.changeBrief,
        COMMANDS.changePack,
      ]) {
        assert.equal(clause(id), 'gitOpenRepositoryCount > 0', id);
      }
      const scm = Object.entries(contributes.menus).filter(([menu]) => menu.startsWith('scm/'));
      assert.ok(scm.length > 0);
      for (const { when } of scm.flatMap(([, items]) => items)) {
        assert.match(when ?? '', /^scmProvider == git\b/);
      }
    });
  });

  describe('the chat participant', () => {
    const [participant, ...others] = contributes.chatParticipants;
    assert.ok(participant);

    it('is the one of the code, under a name that no other extension has', () => {
      assert.equal(participant.id, CHAT_PARTICIPANT);
      assert.equal(participant.name, 'intern');
      assert.deepEqual(others, []);
      assert.ok(participant.isSticky);
    });

    it('has the commands of the registry', () => {
      assert.deepEqual(
        participant.commands,
        slashCommands().map(({ name, description, example }) => ({
          name,
          description,
          sampleRequest: example,
        })),
      );
    });

    it('says when a request may be meant for it', () => {
      for (const { category, description, examples } of participant.disambiguation) {
        assert.match(category, /^[a-z_]+$/);
        assert.match(description, /^[A-Z].*\.$/);
        assert.ok(examples.length > 2);
      }
      assert.ok(participant.disambiguation.length > 0);
    });
  });

  describe('the tools', () => {
    it('are those of the registry', () => {
      const expected = jobNames().flatMap((job) => {
        const { tool, title, description } = cardOf(job);
        if (!tool) return [];
        return {
          name: TOOL_PREFIX + tool.name,
          displayName: `${title} (Ollama Intern)`,
          toolReferenceName: `intern_${tool.name}`,
          canBeReferencedInPrompt: true,
          userDescription: description,
          modelDescription: tool.description,
          icon: '$(sparkle)',
          tags: ['ollama-intern'],
          inputSchema: toolSchema(tool),
        };
      });
      assert.deepEqual(contributes.languageModelTools, expected);
    });
  });

  describe('views', () => {
    it('have ids of the product, and the manifest names no other', () => {
      for (const id of Object.values(VIEWS)) assert.match(id, /^ollamaIntern\./);
      const contributed = Object.values(contributes.views ?? {}).flat();
      for (const { id } of contributed) {
        assert.ok((Object.values(VIEWS) as string[]).includes(id), id);
      }
    });

    it('that are restored with the window wake the extension', () => {
      for (const id of Object.values(VIEWS)) {
        const contributed = Object.values(contributes.views ?? {}).flat();
        const wakes = [`onWebviewPanel:${id}`, '*', 'onStartupFinished'];
        assert.ok(
          contributed.some((view) => view.id === id) ||
            manifest.activationEvents.some((event) => wakes.includes(event)),
          id,
        );
      }
    });
  });

  describe('settings', () => {
    it('are those of the code, each once', () => {
      const keys = contributes.configuration.flatMap((group) => Object.keys(group.properties));
      const expected = Object.values(SETTINGS).map((key) => `${CONFIG_SECTION}.${key}`);
      assert.deepEqual(sorted(keys), sorted(expected));
      assert.equal(new Set(keys).size, keys.length);
    });

    for (const [key, property] of Object.entries(properties)) {
      it(`${key} is described in full sentences and has a default of its type`, () => {
        const text = property.markdownDescription ?? property.description ?? '';
        assert.match(text, /^[A-Z].*\.$/s);
        assert.doesNotMatch(text, /!|\s{2}/);
        assert.ok('default' in property);
        const types = [property.type].flat();
        const type =
          property.default === null
            ? 'null'
            : typeof property.default === 'number' && types.includes('integer')
              ? 'integer'
              : Array.isArray(property.default)
                ? 'array'
                : typeof property.default;
        assert.ok(types.includes(type), `${type} is none of ${types.join(', ')}`);
      });
    }

    it('of one group have an order of their own', () => {
      for (const { title, properties: group } of contributes.configuration) {
        const orders = Object.values(group).map((p) => (p as { order?: number }).order);
        assert.ok(!orders.includes(undefined), title);
        assert.equal(new Set(orders).size, orders.length, title);
      }
    });

    for (const tier of TIERS) {
      it(`budgets.${tier} has the default of the tier table`, () => {
        assert.equal(setting(`budgets.${tier}`).default, LOCAL_BUDGET_MS[tier] / 1000);
      });

      it(`tiers.${tier} is empty, so that the environment and the profile can speak`, () => {
        assert.equal(setting(`tiers.${tier}`).default, '');
      });
    }

    it('suggest the profiles that come with the product', () => {
      assert.deepEqual(
        sorted(setting(SETTINGS.profile).examples ?? []),
        sorted(Object.keys(BUILTIN_PROFILES)),
      );
      for (const { tiers } of Object.values(BUILTIN_PROFILES)) {
        for (const tier of TIERS) assert.ok(isPlausibleModelName(tiers[tier]));
      }
    });

    for (const tier of GENERATIVE_TIERS) {
      it(`cloud.budgets.${tier} has the default of the core`, () => {
        assert.equal(setting(`cloud.budgets.${tier}`).default, REMOTE_BUDGET_MS[tier] / 1000);
      });
    }

    it('of the cloud have the modes, the window and the models of the core', () => {
      const { mode, numCtx, models } = resolveCloud({}, {}, []);
      assert.deepEqual(setting(SETTINGS.cloudMode).enum, CLOUD_MODES);
      assert.equal(setting(SETTINGS.cloudMode).default, mode);
      const { default: window, minimum, maximum } = setting(SETTINGS.cloudContextWindow);
      assert.equal(window, numCtx);
      for (const [size, fits] of [
        [minimum, true],
        [maximum, true],
        [minimum! - 1, false],
        [maximum! + 1, false],
      ] as const) {
        const problems: ConfigProblem[] = [];
        resolveCloud({ contextWindow: size! }, {}, problems);
        assert.equal(problems.length === 0, fits, String(size));
      }
      const text = setting(SETTINGS.cloudModel).markdownDescription ?? '';
      assert.ok(text.includes(`\`${models.workhorse}\``));
      for (const name of setting(SETTINGS.cloudModel).examples ?? []) {
        assert.ok(isPlausibleModelName(name), name);
      }
    });

    it('say of every mode but off that prompts leave the machine', () => {
      const { enumDescriptions = [] } = setting(SETTINGS.cloudMode);
      assert.equal(enumDescriptions.length, CLOUD_MODES.length);
      enumDescriptions.forEach((text, index) =>
        assert.equal(/Prompts leave this machine/.test(text), CLOUD_MODES[index] !== 'off', text),
      );
    });

    it('name every environment variable that stands behind them', () => {
      const texts = Object.values(properties).map((p) => p.markdownDescription ?? '');
      for (const name of [
        'OLLAMA_CLOUD_PRIMARY',
        'OLLAMA_CLOUD_HOST',
        'OLLAMA_API_KEY',
        'INTERN_CLOUD_MODEL',
        'INTERN_CLOUD_DEEP_MODEL',
        'INTERN_CLOUD_NUM_CTX',
        ...GENERATIVE_TIERS.map((tier) => `INTERN_CLOUD_TIMEOUT_${tier.toUpperCase()}_MS`),
      ]) {
        assert.ok(
          texts.some((text) => text.includes(`\`${name}\``)),
          name,
        );
      }
    });

    it('fallbacks take names with and without a backend', () => {
      const { items } = setting(SETTINGS.fallbacks).additionalProperties as Property;
      const pattern = new RegExp(items?.pattern ?? '');
      for (const good of ['qwen3:8b', 'cloud/gpt-oss:120b-cloud', 'gateway/hf.co/org/model']) {
        assert.match(good, pattern);
      }
      for (const bad of ['', 'two words', 'cloud/']) assert.doesNotMatch(bad, pattern);
    });

    const schemas: [where: string, options: Record<string, Property> | undefined][] = [
      ['options.*', pick('options.')],
      ...TIERS.map((tier): [string, Record<string, Property> | undefined] => [
        `tierOptions.${tier}`,
        setting(SETTINGS.tierOptions).properties?.[tier]?.properties,
      ]),
      ...TIERS.map((tier): [string, Record<string, Property> | undefined] => [
        `profiles.*.options.${tier}`,
        (setting(SETTINGS.profiles).additionalProperties as Property).properties?.options
          ?.properties?.[tier]?.properties,
      ]),
    ];
    for (const [where, options] of schemas) {
      it(`${where} have the names and the ranges that the core accepts`, () => {
        assert.ok(options);
        assert.deepEqual(
          sorted(Object.keys(options)),
          sorted(Object.keys(generationOptionsSchema.shape)),
        );
        for (const [name, { minimum, maximum }] of Object.entries(options)) {
          const accepts = (value: number) =>
            generationOptionsSchema.safeParse({ [name]: value }).success;
          assert.ok(minimum !== undefined && accepts(minimum), `${name} at its least`);
          assert.ok(!accepts(minimum - 1), `${name} below its least`);
          if (maximum === undefined) continue;
          assert.ok(accepts(maximum), `${name} at its most`);
          assert.ok(!accepts(maximum + 1), `${name} above its most`);
        }
      });
    }

    it('keepAlive takes the durations that Ollama takes', () => {
      const pattern = new RegExp(setting(SETTINGS.keepAlive).pattern ?? '');
      for (const good of ['', '5m', '1.5h', '1h30m', '300', '-1', '0', '300ms', '-1m', '0.5']) {
        assert.match(good, pattern);
      }
      for (const bad of ['soon', '5 m', 'm', '5x', '--1', '5m!', '1.h', ' ']) {
        assert.doesNotMatch(bad, pattern);
      }
    });
  });

  describe('trust', () => {
    const { untrustedWorkspaces } = manifest.capabilities;

    const away = Object.values(SETTINGS).filter((key) =>
      /^(cloud\.|gateway\.|fallbacks)/.test(key),
    );
    for (const key of [
      SETTINGS.host,
      SETTINGS.logPath,
      SETTINGS.caFile,
      SETTINGS.headers,
      SETTINGS.artifactFolder,
      ...away,
    ]) {
      it(`a repository cannot set ${key}`, () => {
        assert.equal(setting(key).scope, 'machine');
        assert.ok(
          untrustedWorkspaces.restrictedConfigurations.includes(`${CONFIG_SECTION}.${key}`),
        );
      });
    }

    it('a folder that is not trusted sizes no window and loads no model', () => {
      for (const key of [SETTINGS.contextWindow, SETTINGS.tierOptions, SETTINGS.prewarm]) {
        assert.ok(
          untrustedWorkspaces.restrictedConfigurations.includes(`${CONFIG_SECTION}.${key}`),
          key,
        );
      }
    });

    it('a folder that is not trusted gets limited service', () => {
      assert.equal(untrustedWorkspaces.supported, 'limited');
    });

    it('restricted settings exist', () => {
      for (const key of untrustedWorkspaces.restrictedConfigurations) {
        assert.ok(key in properties, key);
      }
    });
  });

  describe('names', () => {
    it('of the vendor of language models are those of the code', () => {
      const vendors = contributes.languageModelChatProviders.map(({ vendor }) => vendor);
      assert.deepEqual(vendors, [MODEL_VENDOR]);
    });

    // The editor takes the first that registers a name, and tells the second nothing.
    it('are taken by no other extension', () => {
      const vendors = [
        ...['copilot', 'copilotcli', 'claude-code', 'ollama', 'ollama-models', 'selfagency-opilot'],
        ...['llama-vscode', 'anthropic', 'azure', 'customendpoint', 'customoai', 'gemini'],
        ...[
          'groq',
          'openai',
          'openrouter',
          'xai',
          'cerebras',
          'huggingface',
          'litellm',
          'lmstudio',
        ],
      ];
      assert.ok(!vendors.includes(MODEL_VENDOR));
      const extensions = [
        ...['ollama.ollama', 'selfagency.opilot', 'continue.continue', 'saoudrizwan.claude-dev'],
        ...['rooveterinaryinc.roo-cline', 'rjmacarthy.twinny', 'ggml-org.llama-vscode'],
        ...['ex3ndr.llama-coder', 'tabbyml.vscode-tabby', 'ms-windows-ai-studio.windows-ai-studio'],
      ];
      assert.ok(!extensions.includes(EXTENSION_ID));
      const prefixes = ['ollama', 'opilot', 'continue', 'cline', 'roo-cline', 'twinny', 'tabby'];
      assert.ok(!prefixes.includes(CONFIG_SECTION));
    });
  });

  it('uses no prefix but its own', () => {
    const names = [
      ...commandIds,
      ...Object.keys(properties),
      ...contributes.submenus.map((s) => s.id),
    ];
    for (const name of names) assert.match(name, /^ollamaIntern\./);
    for (const { id } of contributes.languages) assert.match(id, /^ollama-intern-/);
    const languages = contributes.languages.map(({ id }) => id);
    for (const { language } of contributes.grammars) assert.ok(languages.includes(language));
    // Answers stand in files as comments do: the view of all comments must not open over them.
    const { 'comments.openView': openView, ...defaults } = contributes.configurationDefaults;
    assert.equal(openView, 'firstFileUnresolved');
    for (const key of Object.keys(defaults)) {
      assert.ok(
        languages.some((id) => key === `[${id}]`),
        key,
      );
    }
  });

  it('names only files that exist', () => {
    for (const path of [manifest.icon, ...contributes.grammars.map((grammar) => grammar.path)]) {
      assert.ok(existsSync(join(root, path)), path);
    }
  });
});

/** Context keys and what they stand for. */
function valuesOf(context: Record<string, unknown>): (key: string) => unknown {
  return (key) => context[key];
}

/** The settings below a prefix, by the rest of their names. */
function pick(prefix: string): Record<string, Property> {
  const full = `${CONFIG_SECTION}.${prefix}`;
  return Object.fromEntries(
    Object.entries(properties)
      .filter(([key]) => key.startsWith(full))
      .map(([key, property]) => [key.slice(full.length), property]),
  );
}

describe('the walkthrough', () => {
  const steps = contributes.walkthroughs.flatMap((one) => one.steps);
  const ignored = readFileSync(join(root, '.vscodeignore'), 'utf8');

  it('has a picture for each step, which is packaged', () => {
    assert.ok(steps.length > 0);
    for (const { media } of steps) {
      assert.ok(existsSync(join(root, media.image)), media.image);
      assert.match(media.image, /^media\/pictures\/[a-z]+\.png$/);
      assert.ok(media.altText.endsWith('.'), media.altText);
    }
    assert.match(ignored, /^!media\/pictures\/\*\.png$/m);
  });

  it('leads only to commands and settings that there are, and is completed by them', () => {
    for (const { description, completionEvents } of steps) {
      for (const [, id] of description.matchAll(/\(command:([^)]+)\)/g)) {
        assert.ok(commandIds.includes(id ?? ''), id);
      }
      for (const event of completionEvents) {
        const [kind, name = ''] = event.split(':');
        if (kind === 'onCommand') assert.ok(commandIds.includes(name), event);
        else assert.ok(kind === 'onSettingChanged' && name in properties, event);
      }
    }
  });
});
