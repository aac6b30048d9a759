import { tracingChannel } from "node:diagnostics_channel";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";

/**
 * Makes a span of each session operation that goes to Redis, within the span that is active when it begins.
 * No span contains a session id or a key: the store does not publish them.
 */
export function traceSessions(tracer = trace.getTracer("sessions")) {
  const spans = new WeakMap();
  const subscribers = {
    start(message) {
      const { operation, nodeId, session } = message;
      // Not session.*: OpenTelemetry reserves that for the session id itself, which belongs in no trace.
      const attributes = {
        "clustered_redis_store.operation": operation,
        "clustered_redis_store.node": nodeId,
        "clustered_redis_store.session_hash": session,
      };
      spans.set(message, tracer.startSpan(`session ${operation}`, { kind: SpanKind.CLIENT, attributes }));
    },
    error(message) {
      spans.get(message)?.recordException(message.error);
      spans.get(message)?.setStatus({ code: SpanStatusCode.ERROR, message: message.error.message });
    },
    asyncEnd(message) {
      const span = spans.get(message);
      if (message.result) span?.setAttribute("clustered_redis_store.found", message.result.found);
      span?.end();
    },
  };
  const channel = tracingChannel("clustered-redis-store:operation");
  channel.subscribe(subscribers);
  return () => channel.unsubscribe(subscribers);
}
