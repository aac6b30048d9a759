/** What the processes that recover read and write. */
export const SESSIONS = 1_000;
/** The share of requests that write. */
export const WRITES = 0.02;
