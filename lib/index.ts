/**
 * A session store for express-session: sessions in Redis, the hot ones in the memory of each process.
 * @module clustered-redis-store
 */

export { LocalCache, type LocalCacheLimits, type LocalCacheStats } from "./cache/local-cache.ts";
export {
  type Callback,
  ClusteredRedisStore,
  ClusteredRedisStore as RedisStore,
  type StoreListener,
} from "./clustered-redis-store.ts";
export { ClusterCoordinator } from "./invalidation/coordinator.ts";
export type {
  CacheClear,
  ClusterMessage,
  DestroyReason,
  MessageContent,
  SessionDeleted,
  SessionInvalidated,
} from "./invalidation/messages.ts";
export type {
  ClusterCoordinatorOptions,
  CoordinatorHandlers,
  CoordinatorStats,
  InvalidatedCache,
  OutgoingMessage,
} from "./invalidation/types.ts";
export type { ClusteredRedisStoreOptions, ClusterOptions, LocalCacheOptions } from "./options/options.ts";
export type {
  Codec,
  CodecContext,
  ConflictingValues,
  IndexBy,
  ResolveConflict,
  Serializer,
  SessionTtl,
} from "./options/types.ts";
export type { RedisStoreClient, RedisSubscriberClient, RedisSubscriberSource } from "./redis/client.ts";
export type { StoreEventMessage, StoreOperation } from "./reporting/diagnostics.ts";
export { SessionStoreError, type SessionStoreErrorCode } from "./reporting/errors.ts";
export type {
  ClusterState,
  ClusterStats,
  IdentifiedSession,
  ListedSession,
  StoreEvents,
  StoreHealth,
  UserSession,
} from "./reporting/types.ts";
export type { DestroyAllOptions, ReindexOptions, ReindexProgress } from "./sessions/secondary-index.ts";
export type { ReencodeOptions, ReencodeProgress } from "./sessions/session-scan.ts";
export type { StoredSession } from "./sessions/stored-session.ts";
