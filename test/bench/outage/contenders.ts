/** The stores that visitors meet: ours with its defaults and with `staleIfErrorMs`. */
export const CONTENDERS = ["connect-redis", "defaults", "staleIfErrorMs"] as const;
export type Contender = (typeof CONTENDERS)[number];
