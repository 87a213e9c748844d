// parc's language server in Visual Studio Code.
import * as path from "node:path";
import * as vscode from "vscode";
import { LanguageClient, type LanguageClientOptions, type ServerOptions } from "vscode-languageclient/node";
import { Picture } from "./picture";
import { NoServer, findPython } from "./server";

let client: LanguageClient | undefined;
let starting: Promise<void> = Promise.resolve();
let python = ""; // the one that runs the server

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const log = vscode.window.createOutputChannel("parc", { log: true });
  const picture = new Picture(() => client);
  context.subscriptions.push(
    log,
    picture,
    vscode.commands.registerCommand("parc.log", () => log.show()),
    vscode.commands.registerCommand("parc.restart", () => restart(log, picture)),
    vscode.commands.registerCommand("parc.openPicture", () => picture.open()),
    vscode.commands.registerCommand("parc.buildPlan", () => build()),
    vscode.workspace.onDidGrantWorkspaceTrust(() => restart(log, picture)),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("parc.python") || change.affectsConfiguration("parc.arguments")) void restart(log, picture);
    }),
  );
  await restart(log, picture);
}

export async function deactivate(): Promise<void> {
  await starting;
  await client?.stop();
}

/** Restarts one after the other: two at once would leave a server that nobody stops. */
function restart(log: vscode.LogOutputChannel, picture: Picture): Promise<void> {
  starting = starting.then(async () => {
    const old = client;
    client = undefined;
    await old?.stop().catch((fault: unknown) => log.error(String(fault)));
    await start(log, picture);
  });
  return starting;
}

async function start(log: vscode.LogOutputChannel, picture: Picture): Promise<void> {
  try {
    python = await findPython(log);
    const settings = vscode.workspace.getConfiguration("parc");
    // -P: nothing is imported from the folder that happens to be open.
    const server: ServerOptions = { command: python, args: ["-P", "-m", "parc", "lsp", ...settings.get<string[]>("arguments", [])] };
    const options: LanguageClientOptions = {
      documentSelector: [{ language: "parc" }],
      outputChannel: log,
      initializationOptions: { trusted: vscode.workspace.isTrusted, commands: ["parc.picture", "parc.build"] },
      markdown: { isTrusted: false, supportHtml: false },
      middleware: {
        // The commands of the code lenses open a page and a terminal here.
        executeCommand: (command, args, next) => {
          const [argument] = args;
          if (command === "parc.picture") return picture.open(argument.uri, argument.plan);
          if (command === "parc.build") return build(argument.uri, argument.plan);
          return next(command, args);
        },
      },
    };
    client = new LanguageClient("parc", "parc", server, options);
    await client.start();
  } catch (fault) {
    client = undefined;
    log.error(String(fault));
    const choice = await vscode.window.showErrorMessage(
      fault instanceof NoServer ? fault.message : `parc's language server did not start: ${String(fault)}`,
      "Choose a Python",
      "Show the log",
    );
    if (choice === "Choose a Python") await vscode.commands.executeCommand("workbench.action.openSettings", "parc.python");
    if (choice === "Show the log") log.show();
  }
}

/** Building runs the user's model: only where the folder is trusted, and in a terminal that the user sees. */
async function build(uri?: string, plan?: string): Promise<void> {
  if (!vscode.workspace.isTrusted) {
    await vscode.window.showWarningMessage("Building runs your model: trust this folder first.");
    return;
  }
  const file = uri ? vscode.Uri.parse(uri) : vscode.window.activeTextEditor?.document.uri;
  if (!file || !client) return;
  const document = await vscode.workspace.openTextDocument(file);
  if (document.isDirty && !(await document.save())) return; // the file is built, not the text
  const { dir, name } = path.parse(file.fsPath);
  const out = path.join(dir, plan ? `${name}.${plan}` : `${name}.out`);
  const task = new vscode.Task(
    { type: "process" },
    vscode.TaskScope.Workspace,
    `build ${plan ?? vscode.workspace.asRelativePath(file)}`,
    "parc",
    new vscode.ProcessExecution(python, ["-P", "-m", "parc", "build", file.fsPath, ...(plan ? [plan] : []), "-o", out], { cwd: dir }),
  );
  await vscode.tasks.executeTask(task);
}
