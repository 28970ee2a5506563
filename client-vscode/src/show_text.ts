// Shows a place in a text where texts are, and not over the inspector.
import { type Range, type Uri, ViewColumn, window } from "vscode";

/** Put the cursor on a range: where the file is shown already, else where a text was last. */
export async function showText(uri: Uri, selection: Range): Promise<void> {
  const texts = window.visibleTextEditors.filter(({ viewColumn }) => viewColumn !== undefined);
  const shown = texts.find(({ document }) => document.uri.toString() === uri.toString());
  const viewColumn = (shown ?? window.activeTextEditor ?? texts[0])?.viewColumn ?? ViewColumn.One;
  await window.showTextDocument(uri, { selection, viewColumn });
}
