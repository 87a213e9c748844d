// Finds a Python that has parc's language server.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as vscode from "vscode";

const run = promisify(execFile);
const PROBE = "import parc.lsp, pygls, sys; print(sys.executable)";
const INSTALL = "pip install 'parc-compiler[lsp]'";

interface Candidate {
  readonly python: string;
  readonly origin: string;
}

export class NoServer extends Error {}

/** Where a Python may be, most likely first. Folders that are not trusted are not searched. */
async function listCandidates(): Promise<Candidate[]> {
  const found: Candidate[] = [];
  const setting = vscode.workspace.getConfiguration("parc").get<string>("python", "");
  if (setting) return [{ python: setting, origin: "the setting `parc.python`" }];
  const chosen = await findChosenInterpreter();
  if (chosen) found.push({ python: chosen, origin: "the chosen interpreter" });
  if (vscode.workspace.isTrusted) {
    for (const folder of vscode.workspace.workspaceFolders ?? []) {
      const python = path.join(folder.uri.fsPath, ".venv", ...(process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"]));
      if (existsSync(python)) found.push({ python, origin: `${folder.name}/.venv` });
    }
  }
  for (const python of process.platform === "win32" ? ["py", "python"] : ["python3", "python"]) {
    found.push({ python, origin: "the search path" });
  }
  return found;
}

/** The first candidate with a language server. Throws `NoServer` with all candidates if there is none. */
export async function findPython(log: vscode.LogOutputChannel): Promise<string> {
  const tried: string[] = [];
  for (const { python, origin } of await listCandidates()) {
    try {
      const { stdout } = await run(python, ["-P", "-c", PROBE], { timeout: 20_000 });
      log.info(`${python} (${origin}) has parc`);
      return stdout.trim() || python;
    } catch (fault) {
      const reason = String((fault as { stderr?: string }).stderr ?? fault).trim().split("\n").pop();
      log.info(`${python} (${origin}) has no parc: ${reason}`);
      tried.push(`${python} (${origin})`);
    }
  }
  throw new NoServer(`No Python with parc's language server was found. Tried: ${tried.join(", ")}. Run \`${INSTALL}\` in one of them.`);
}

async function findChosenInterpreter(): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension("ms-python.python");
  if (!extension) return undefined;
  const api = extension.isActive ? extension.exports : await extension.activate();
  const environment = await api?.environments?.resolveEnvironment?.(api.environments.getActiveEnvironmentPath());
  return environment?.executable?.uri?.fsPath;
}
