// The server's own requests: "Server and editor" in schemas/PROTOCOL.md.
import type { Location } from "vscode-languageserver-protocol";

import type { LayerSeries, RunDetail, RunSummary, StatisticSeries } from "./run_types";
import type { Server } from "./server";

export const RUNS_CHANGED = "gradtracer/runsChanged";

/** Asks the server, and answers nothing while it does not run or does not know the request. */
export class Requests {
  constructor(private readonly server: Server) {}

  async runs(): Promise<readonly RunSummary[]> {
    const answer = await this.ask<{ runs: readonly RunSummary[] }>("runs", {});
    return answer?.runs ?? [];
  }

  run(folder: string, values = false): Promise<RunDetail | null> {
    return this.ask("run", { folder, values });
  }

  layerSeries(folder: string, layer: string): Promise<LayerSeries | null> {
    return this.ask("layerSeries", { folder, layer });
  }

  statistic(folder: string, statistic: string): Promise<StatisticSeries | null> {
    return this.ask("statistic", { folder, statistic });
  }

  place(folder: string, layer: string): Promise<Location | null> {
    return this.ask("place", { folder, layer });
  }

  async follow(folder: string, follow: boolean): Promise<boolean> {
    return (await this.ask<boolean>("follow", { folder, follow })) ?? false;
  }

  private async ask<T>(method: string, params: object): Promise<T | null> {
    const { client } = this.server;
    if (client === undefined) {
      return null;
    }
    try {
      return await client.sendRequest<T | null>(`gradtracer/${method}`, params);
    } catch (error) {
      // A server may die between two requests; an older one knows fewer of them.
      client.outputChannel.warn(`gradtracer/${method}: ${String(error)}`);
      return null;
    }
  }
}
