export { type ClientOptions, createClient, type PortcullisClient } from "./client.js";
export type { ApiKey, CallOptions, GatewaySession, User, UserWithPermissions } from "./endpoints.js";
export { PortcullisError } from "./errors.js";
export type { SessionEvent, SessionEventType } from "./events.js";
export type { components, operations, paths } from "./openapi.js";
export type { RequestOptions } from "./request.js";
export type { TokenStorage } from "./storage.js";
