/** A Redis (or Valkey) that tests and the demo may use, however it was come by. */
export interface RedisServer {
  readonly url: string;
  /** Where it comes from: `REDIS_URL`, a child process, or a container. */
  readonly provider: "url" | "process" | "docker";
  readonly version: string;
  /** Stalls it: it takes connections and bytes, and answers nothing. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** As `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again, empty, at the same address; kills it first if need be. */
  restart(): Promise<void>;
  /** Ends it for good; more than once is once. */
  stop(): Promise<void>;
}

/** What a server that the tests start is to be, whatever runs it. */
export interface ServerSpec {
  /** More arguments for the server. They are the first, as the name of a configuration file must be. */
  readonly args?: readonly string[];
  /** What is in the folder in which it runs, by name. It may write there. */
  readonly files?: Readonly<Record<string, string>>;
  /** Whether it must be at 127.0.0.1, because its peers or its certificate know it by that address. @default false */
  readonly atLoopback?: boolean;
}

export interface StartOptions extends ServerSpec {
  /** No other test may use it, because it will be paused or killed. @default false */
  readonly own?: boolean;
}

/** The command line of a server that keeps nothing on disk. */
export function commandLine(port: number, { args = [] }: ServerSpec): string[] {
  return [...args, "--port", String(port), "--save", "", "--appendonly", "no"];
}
