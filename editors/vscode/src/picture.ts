// The picture of a plan beside its text: the page follows the cursor, a click on a rank goes back to its lines.
import * as vscode from "vscode";
import type { LanguageClient, Location } from "vscode-languageclient/node";

const PAUSE = { follow: 150, draw: 400 }; // milliseconds after the last move of the cursor, the last keystroke

type Page = { readonly plan: string; readonly html: string } | { readonly error: string };
interface Line {
  readonly location: Location;
  readonly text: string;
}

export class Picture implements vscode.Disposable {
  private panel: vscode.WebviewPanel | undefined;
  private shown: { uri: string; plan: string } | undefined;
  private html = "";
  private readonly pauses = new Map<keyof typeof PAUSE, NodeJS.Timeout>();
  private readonly placed = vscode.window.createTextEditorDecorationType({
    backgroundColor: new vscode.ThemeColor("editor.findMatchHighlightBackground"),
    isWholeLine: true,
  });
  private readonly listeners = [
    vscode.window.onDidChangeTextEditorSelection((change) => this.soon("follow", () => this.follow(change.textEditor))),
    vscode.workspace.onDidChangeTextDocument(({ document }) => {
      if (document.languageId === "parc") this.soon("draw", () => this.draw()); // it may be a file that the shown one imports
    }),
    vscode.window.onDidChangeActiveColorTheme(() => this.theme()),
  ];

  constructor(private readonly client: () => LanguageClient | undefined) {}

  /** Shows a plan of the file, or the one at the cursor. */
  async open(uri?: string, plan?: string): Promise<void> {
    const active = vscode.window.activeTextEditor;
    const file = uri ?? active?.document.uri.toString();
    if (!file) return;
    const position = active?.document.uri.toString() === file ? active.selection.active : undefined;
    const page = await this.ask(file, plan, position);
    if (!page) return;
    if ("error" in page) {
      await vscode.window.showWarningMessage(`parc: ${page.error}`);
      return;
    }
    this.shown = { uri: file, plan: page.plan };
    this.panel ??= this.made();
    this.panel.title = page.plan;
    this.render(page.html);
    this.panel.reveal(vscode.ViewColumn.Beside, true);
  }

  dispose(): void {
    for (const pause of this.pauses.values()) clearTimeout(pause);
    this.panel?.dispose();
    for (const listener of this.listeners) listener.dispose();
    this.placed.dispose();
  }

  private made(): vscode.WebviewPanel {
    const beside = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    const panel = vscode.window.createWebviewPanel("parc.picture", "parc", beside, {
      enableScripts: true, // the page is parc's own, and its policy lets in nothing else
      localResourceRoots: [],
      retainContextWhenHidden: true,
    });
    panel.webview.onDidReceiveMessage((message) => this.told(message));
    panel.onDidDispose(() => {
      this.panel = this.shown = undefined;
      this.html = "";
    });
    return panel;
  }

  /** The text as it is in the editor, saved or not; while the plan is faulty the last picture stays. */
  private async draw(): Promise<void> {
    if (!this.panel || !this.shown) return;
    const page = await this.ask(this.shown.uri, this.shown.plan);
    if (page && "html" in page) this.render(page.html);
  }

  /** A page that is the same, after a comment say, is not loaded again. */
  private render(html: string): void {
    if (!this.panel || html === this.html) return;
    this.html = this.panel.webview.html = html;
  }

  private async ask(uri: string, plan?: string, position?: vscode.Position): Promise<Page | undefined> {
    return this.client()?.sendRequest<Page>("parc/picture", { textDocument: { uri }, plan, position });
  }

  /** The word under the cursor lights up what it is about. */
  private async follow(editor: vscode.TextEditor): Promise<void> {
    if (!this.panel || editor.document.uri.toString() !== this.shown?.uri) return;
    const place = { textDocument: { uri: this.shown.uri }, position: editor.selection.active };
    const message = await this.client()?.sendRequest("parc/highlight", place);
    await this.panel?.webview.postMessage(message);
  }

  private async told(message: { parc?: number; type?: string; rank?: number }): Promise<void> {
    if (message.parc !== 1 || !this.shown) return;
    if (message.type === "ready") {
      this.theme();
      const editor = vscode.window.visibleTextEditors.find(({ document }) => document.uri.toString() === this.shown?.uri);
      if (editor) await this.follow(editor);
    }
    if (message.type !== "rank" || message.rank === undefined) return;
    const { uri, plan } = this.shown;
    const wish = { textDocument: { uri }, plan, rank: message.rank };
    const lines = (await this.client()?.sendRequest<Line[]>("parc/placement", wish)) ?? [];
    await this.show(uri, lines);
  }

  /** The lines that placed a rank, each with what it says of it. */
  private async show(uri: string, lines: readonly Line[]): Promise<void> {
    const own = lines.filter((line) => line.location.uri === uri);
    const column = vscode.ViewColumn.One;
    const editor = await vscode.window.showTextDocument(vscode.Uri.parse(uri), { viewColumn: column, preserveFocus: true });
    const color = new vscode.ThemeColor("editorCodeLens.foreground");
    const ranges = own.map(({ location: { range }, text }) => ({
      range: new vscode.Range(range.start.line, range.start.character, range.end.line, range.end.character),
      hoverMessage: text,
      renderOptions: { after: { contentText: `  ${text}`, color } },
    }));
    editor.setDecorations(this.placed, ranges);
    const first = ranges[0];
    if (first) editor.revealRange(first.range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  }

  private theme(): void {
    const kind = vscode.window.activeColorTheme.kind;
    const dark = kind === vscode.ColorThemeKind.Dark || kind === vscode.ColorThemeKind.HighContrast;
    void this.panel?.webview.postMessage({ parc: 1, type: "theme", theme: dark ? "dark" : "light" });
  }

  private soon(what: keyof typeof PAUSE, run: () => Promise<void>): void {
    clearTimeout(this.pauses.get(what));
    this.pauses.set(what, setTimeout(() => void run(), PAUSE[what]));
  }
}
