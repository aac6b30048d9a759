/** node-redis 5, whose clients share their classes as those of 6 do. */
import { createClient } from "redis-v5";
import { shareClasses } from "./shared-classes.ts";

export * from "redis-v5";

shareClasses(createClient);
