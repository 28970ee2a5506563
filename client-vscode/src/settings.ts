// The user's settings: which of them are the server's, and how the server is told.
import { ColorThemeKind, window, workspace } from "vscode";

export const SECTION = "gradtracer";

/** Settings that the server knows; all others are the extension's own. */
export const SERVER_SETTINGS: readonly string[] = [
  "showOutdated",
  "disabledTypes",
  "inlayHintFigures",
  "inlayHintProgress",
  "inlayHintOutdated",
  "codeLens",
  "pollSeconds",
  "allowRemoteEndpoints",
];

/**
 * What the server is told: what this editor can show, and what the user set. A default is left out,
 * so that pyproject.toml can set it.
 */
export function serverSettings(): Record<string, unknown> {
  const settings = workspace.getConfiguration(SECTION);
  const told: Record<string, unknown> = { canDrawImages: true, theme: theme() };
  for (const name of SERVER_SETTINGS) {
    const places = settings.inspect(name);
    const set = [
      places?.globalValue,
      places?.workspaceValue,
      places?.workspaceFolderValue,
    ].some((value) => value !== undefined);
    if (set) {
      told[name] = settings.get(name);
    }
  }
  return told;
}

/** `gradtracer.interpreter` as it stands. */
export function interpreterSetting(): string {
  return workspace.getConfiguration(SECTION).get("interpreter", "").trim();
}

const THEMES: Readonly<Record<ColorThemeKind, string>> = {
  [ColorThemeKind.Light]: "light",
  [ColorThemeKind.Dark]: "dark",
  [ColorThemeKind.HighContrast]: "highContrast",
  [ColorThemeKind.HighContrastLight]: "highContrastLight",
};

/** The kind of the colour theme, as the server draws for it. */
function theme(): string {
  return THEMES[window.activeColorTheme.kind];
}
