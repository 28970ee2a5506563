// The editor's theme, read from the variables that it gives a page.

export interface Colours {
  readonly text: string;
  readonly faint: string;
  readonly grid: string;
  readonly line: string;
  readonly band: string;
  readonly states: Readonly<Record<string, string>>;
}

export function colours(): Colours {
  const style = getComputedStyle(document.body);
  const read = (name: string, otherwise: string): string =>
    style.getPropertyValue(`--vscode-${name}`).trim() || otherwise;
  const line = read("charts-blue", "#3794ff");
  return {
    text: read("foreground", "#cccccc"),
    faint: read("descriptionForeground", "#9d9d9d"),
    grid: read("editorIndentGuide-background1", "#404040"),
    line,
    band: transparent(line),
    // Told apart without red and green as well: by their order, and by the legend's figures.
    states: {
      healthy: line,
      zombie: read("charts-orange", "#d18616"),
      rare: read("charts-purple", "#b180d7"),
      unseen: read("charts-lines", "#6b6b6b"),
      dead: read("charts-red", "#f14c4c"),
    },
  };
}

/** Calls `changed` when the user picks another theme. */
export function followTheme(changed: () => void): void {
  const observer = new MutationObserver(changed);
  observer.observe(document.body, { attributes: true, attributeFilter: ["class", "data-vscode-theme-id"] });
}

function transparent(color: string): string {
  return /^#[0-9a-f]{6}$/i.test(color) ? `${color}33` : color;
}
