// The offer to install the server where it is missing, and the task that does it.
import {
  env,
  type Memento,
  ProcessExecution,
  type TaskExecution,
  Task,
  TaskScope,
  tasks,
  window,
  workspace,
} from "vscode";

import { INSTALL_ARGUMENTS, installCommand } from "./installation";
import type { Interpreter } from "./interpreter";

const OFFERED = "gradtracer.offered";

/** Say what is missing and offer the command; once for each interpreter of a workspace. */
export async function offerInstallation(
  interpreter: Interpreter,
  message: string,
  memory: Memento,
  actions: { install: () => void; choose: () => void },
): Promise<void> {
  const offered = memory.get<readonly string[]>(OFFERED, []);
  if (offered.includes(interpreter.path)) {
    return;
  }
  await memory.update(OFFERED, [...offered, interpreter.path]);
  const command = installCommand(interpreter.path);
  // In an untrusted workspace a task may not run: the command can be copied all the same.
  const install = workspace.isTrusted ? ["Install"] : [];
  const answer = await window.showInformationMessage(
    `${message} in ${interpreter.path}. To install it: ${command}`,
    ...install,
    "Copy Command",
    "Choose Interpreter",
  );
  if (answer === "Install") {
    actions.install();
  } else if (answer === "Copy Command") {
    await env.clipboard.writeText(command);
  } else if (answer === "Choose Interpreter") {
    actions.choose();
  }
}

/** Run the installation as a task, whose terminal shows it; whether it succeeded. */
export async function install(interpreter: Interpreter): Promise<boolean> {
  const task = new Task(
    { type: "gradtracer" },
    TaskScope.Workspace,
    "install the server",
    "GradTracer",
    new ProcessExecution(interpreter.path, [...INSTALL_ARGUMENTS]),
  );
  let execution: TaskExecution | undefined;
  const ended = new Promise<boolean>((resolve) => {
    const subscription = tasks.onDidEndTaskProcess((event) => {
      if (event.execution === execution) {
        subscription.dispose();
        resolve(event.exitCode === 0);
      }
    });
  });
  execution = await tasks.executeTask(task);
  return ended;
}
