// The picture of a plan beside its text. The page highlights the word at the cursor; a click on a rank shows its lines.
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
  private current: { uri: string; plan: string } | undefined;
  private html = "";
  private readonly pauses = new Map<keyof typeof PAUSE, NodeJS.Timeout>();
  private readonly rankDecoration = vscode.window.createTextEditorDecorationType({
    backgroundColor: new vscode.ThemeColor("editor.findMatchHighlightBackground"),
    isWholeLine: true,
  });
  private readonly listeners = [
    vscode.window.onDidChangeTextEditorSelection((change) => this.debounce("follow", () => this.highlightCursor(change.textEditor))),
    vscode.workspace.onDidChangeTextDocument(({ document }) => {
      if (document.languageId === "parc") this.debounce("draw", () => this.redraw()); // the plan may import the file
    }),
    vscode.window.onDidChangeActiveColorTheme(() => this.sendTheme()),
  ];

  constructor(private readonly client: () => LanguageClient | undefined) {}

  /** Shows a plan of a file, by default the plan at the cursor. */
  async open(uri?: string, plan?: string): Promise<void> {
    const active = vscode.window.activeTextEditor;
    const file = uri ?? active?.document.uri.toString();
    if (!file) return;
    const position = active?.document.uri.toString() === file ? active.selection.active : undefined;
    const page = await this.requestPage(file, plan, position);
    if (!page) return;
    if ("error" in page) {
      await vscode.window.showWarningMessage(`parc: ${page.error}`);
      return;
    }
    this.current = { uri: file, plan: page.plan };
    this.panel ??= this.createPanel();
    this.panel.title = page.plan;
    this.render(page.html);
    this.panel.reveal(vscode.ViewColumn.Beside, true);
  }

  dispose(): void {
    for (const pause of this.pauses.values()) clearTimeout(pause);
    this.panel?.dispose();
    for (const listener of this.listeners) listener.dispose();
    this.rankDecoration.dispose();
  }

  private createPanel(): vscode.WebviewPanel {
    const beside = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    const panel = vscode.window.createWebviewPanel("parc.picture", "parc", beside, {
      enableScripts: true, // the page is parc's own, and its policy admits no other script
      localResourceRoots: [],
      retainContextWhenHidden: true,
    });
    panel.webview.onDidReceiveMessage((message) => this.handleMessage(message));
    panel.onDidDispose(() => {
      this.panel = this.current = undefined;
      this.html = "";
    });
    return panel;
  }

  /** Draws the text as it is in the editor, saved or not. While the plan has errors, the last picture stays. */
  private async redraw(): Promise<void> {
    if (!this.panel || !this.current) return;
    const page = await this.requestPage(this.current.uri, this.current.plan);
    if (page && "html" in page) this.render(page.html);
  }

  /** Loads a page, unless it is the same as before. */
  private render(html: string): void {
    if (!this.panel || html === this.html) return;
    this.html = this.panel.webview.html = html;
  }

  private async requestPage(uri: string, plan?: string, position?: vscode.Position): Promise<Page | undefined> {
    return this.client()?.sendRequest<Page>("parc/picture", { textDocument: { uri }, plan, position });
  }

  /** Highlights in the page what the word at the cursor is about. */
  private async highlightCursor(editor: vscode.TextEditor): Promise<void> {
    if (!this.panel || editor.document.uri.toString() !== this.current?.uri) return;
    const place = { textDocument: { uri: this.current.uri }, position: editor.selection.active };
    const message = await this.client()?.sendRequest("parc/highlight", place);
    await this.panel?.webview.postMessage(message);
  }

  private async handleMessage(message: { parc?: number; type?: string; rank?: number }): Promise<void> {
    if (message.parc !== 1 || !this.current) return;
    if (message.type === "ready") {
      this.sendTheme();
      const editor = vscode.window.visibleTextEditors.find(({ document }) => document.uri.toString() === this.current?.uri);
      if (editor) await this.highlightCursor(editor);
    }
    if (message.type !== "rank" || message.rank === undefined) return;
    const { uri, plan } = this.current;
    const wish = { textDocument: { uri }, plan, rank: message.rank };
    const lines = (await this.client()?.sendRequest<Line[]>("parc/placement", wish)) ?? [];
    await this.showPlacement(uri, lines);
  }

  /** Shows the lines that determine where a rank is, each with what follows from it. */
  private async showPlacement(uri: string, lines: readonly Line[]): Promise<void> {
    const own = lines.filter((line) => line.location.uri === uri);
    const column = vscode.ViewColumn.One;
    const editor = await vscode.window.showTextDocument(vscode.Uri.parse(uri), { viewColumn: column, preserveFocus: true });
    const color = new vscode.ThemeColor("editorCodeLens.foreground");
    const ranges = own.map(({ location: { range }, text }) => ({
      range: new vscode.Range(range.start.line, range.start.character, range.end.line, range.end.character),
      hoverMessage: text,
      renderOptions: { after: { contentText: `  ${text}`, color } },
    }));
    editor.setDecorations(this.rankDecoration, ranges);
    const first = ranges[0];
    if (first) editor.revealRange(first.range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  }

  private sendTheme(): void {
    const kind = vscode.window.activeColorTheme.kind;
    const dark = kind === vscode.ColorThemeKind.Dark || kind === vscode.ColorThemeKind.HighContrast;
    void this.panel?.webview.postMessage({ parc: 1, type: "theme", theme: dark ? "dark" : "light" });
  }

  private debounce(what: keyof typeof PAUSE, run: () => Promise<void>): void {
    clearTimeout(this.pauses.get(what));
    this.pauses.set(what, setTimeout(() => void run(), PAUSE[what]));
  }
}
