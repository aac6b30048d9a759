/**
 * A session store for express-session: sessions in Redis, the hot ones in the memory of each process.
 * @module clustered-redis-store
 */
export type { Callback } from "./callback.ts";
export { ClusterCoordinator } from "./cluster-coordinator.ts";
export type {
  CacheClear,
  ClusterMessage,
  MessageContent,
  SessionDeleted,
  SessionInvalidated,
} from "./cluster-message.ts";
export { ClusteredRedisStore, ClusteredRedisStore as RedisStore } from "./clustered-redis-store.ts";
export type {
  ClusterCoordinatorOptions,
  ClusterHandlers,
  ClusterState,
  CoordinatorStats,
  OutgoingMessage,
} from "./coordination.ts";
export type { StoreEventMessage, StoreOperation } from "./diagnostics.ts";
export { SessionStoreError, type SessionStoreErrorCode } from "./errors.ts";
export type { ReindexOptions, ReindexProgress } from "./indexed-sessions.ts";
export { LocalCache, type LocalCacheLimits, type LocalCacheStats } from "./local-cache.ts";
export type { ConflictingValues, ResolveConflict } from "./merge-sessions.ts";
export type { ClusteredRedisStoreOptions, ClusterOptions, LocalCacheOptions } from "./options.ts";
export type { RedisStoreClient, RedisSubscriberClient, RedisSubscriberSource } from "./redis-client.ts";
export type { Serializer } from "./serializer.ts";
export type { IndexBy } from "./session-index.ts";
export type { SessionTtl } from "./session-lifetime.ts";
export type {
  ClusterStats,
  IdentifiedSession,
  ListedSession,
  StoreEvents,
  StoreHealth,
} from "./store-reports.ts";
export type { StoredSession } from "./stored-session.ts";
