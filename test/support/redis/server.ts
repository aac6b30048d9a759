/** A Redis (or Valkey) that tests and the demo may use, however it was come by. */
export interface RedisServer {
  readonly url: string;
  /** How it was come by: `REDIS_URL`, a process of ours, or a container of ours. */
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

export interface StartOptions {
  /** It must be ours alone, because it will be paused or killed. @default false */
  readonly own?: boolean;
  /** More arguments for the server. */
  readonly args?: readonly string[];
}

export const PASSING_ARGS: readonly string[] = ["--save", "", "--appendonly", "no"];
