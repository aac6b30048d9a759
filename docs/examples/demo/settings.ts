/** What main.ts tells each process. By environment, because arguments are for all on the machine to see. */
export interface NodeSettings {
  readonly node: number;
  readonly redisUrl: string;
  /** Another way to the same Redis, for the subscriber alone. */
  readonly subscriberUrl: string;
  /** Another one each time: two demos on one Redis share neither messages nor sessions. */
  readonly run: string;
  readonly secret: string;
}

export function asEnvironment(settings: NodeSettings): NodeJS.ProcessEnv {
  const { node, redisUrl, subscriberUrl, run, secret } = settings;
  return {
    DEMO_NODE: String(node),
    DEMO_REDIS_URL: redisUrl,
    DEMO_SUBSCRIBER_URL: subscriberUrl,
    DEMO_RUN: run,
    DEMO_SECRET: secret,
  };
}

export function settingsFromEnvironment(): NodeSettings {
  return {
    node: Number(variable("DEMO_NODE")),
    redisUrl: variable("DEMO_REDIS_URL"),
    subscriberUrl: variable("DEMO_SUBSCRIBER_URL"),
    run: variable("DEMO_RUN"),
    secret: variable("DEMO_SECRET"),
  };
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: this file is started by main.ts`);
  return value;
}
