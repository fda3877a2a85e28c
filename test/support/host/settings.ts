export type Theme = 'dark' | 'light' | 'hc' | 'hcLight';
export type Settings = Record<string, unknown>;

const themes: Record<Theme, string> = {
  dark: 'Dark 2026',
  light: 'Light 2026',
  hc: 'Default High Contrast',
  hcLight: 'Default High Contrast Light',
};

/** What keeps the workbench from talking about itself: no welcome, no sign-in, no updates, no blinking. */
const quiet: Settings = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.enableExperiments': false,
  'workbench.welcomePage.walkthroughs.openOnInstall': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.layoutControl.enabled': false,
  'workbench.reduceMotion': 'on',
  'window.confirmBeforeClose': 'never',
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'update.showReleaseNotes': false,
  'extensions.autoCheckUpdates': false,
  'extensions.autoUpdate': false,
  'extensions.ignoreRecommendations': true,
  'editor.accessibilitySupport': 'off',
  'editor.cursorBlinking': 'solid',
  'editor.minimap.enabled': false,
  'git.autofetch': false,
  'git.openRepositoryInParentFolders': 'never',
  'json.schemaDownload.enable': false,
  'npm.fetchOnlinePackageInfo': false,
  'remote.autoForwardPorts': false,
  'typescript.disableAutomaticTypeAcquisition': true,
};

/** The settings of a test window; the caller's win. */
export function testSettings(
  theme: Theme,
  settings: Settings = {},
  workspaceTrust = false,
): Settings {
  return {
    ...quiet,
    'security.workspace.trust.enabled': workspaceTrust,
    'workbench.colorTheme': themes[theme],
    'window.autoDetectColorScheme': false,
    ...settings,
  };
}
