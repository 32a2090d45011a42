import type { components, operations } from "./openapi.js";
import type { RequestOptions } from "./request.js";

type Schemas = components["schemas"];
type UsersQuery = NonNullable<operations["users"]["parameters"]["query"]>;

export type User = Schemas["User"];
export type UserWithPermissions = Schemas["UserWithPermissions"];
export type ApiKey = Schemas["ApiKey"];
export type GatewaySession = Schemas["Session"];
/** Of a call: a signal, a timeout, headers. */
export type CallOptions = Pick<RequestOptions, "signal" | "timeout" | "retries" | "headers">;

/** Calls an endpoint and resolves with `data` of its response. */
export type Call = <T>(method: string, path: string, json?: unknown, options?: CallOptions) => Promise<T>;

type Plain<Data> = (options?: CallOptions) => Promise<Data>;
type Of<Data> = (id: string, options?: CallOptions) => Promise<Data>;
type OfTwo<Data> = (id: string, second: string, options?: CallOptions) => Promise<Data>;
type With<Body, Data> = (body: Body, options?: CallOptions) => Promise<Data>;
type OfWith<Body, Data> = (id: string, body: Body, options?: CallOptions) => Promise<Data>;

/** The calls that neither begin nor end a session of this client. */
export function endpoints(call: Call) {
  /**
   * A function that takes a value for each `*` of the path, then the body if the method has one, then options. With `field` the
   * body is an object of this one field; an empty `field` means that there is no body.
   */
  const at = <F>(method: string, path: string, field?: string) => {
    const hasBody = /^P/.test(method) && field !== "";
    return ((...given: unknown[]) => {
      const filled = path.replace(/\*/g, () => encodeURIComponent(String(given.shift())));
      const body = hasBody ? given.shift() : undefined;
      return call(method, filled, field ? { [field]: body } : body, given[0] as CallOptions);
    }) as F;
  };

  const auth = {
    updateProfile: at<With<Schemas["ProfileRequest"], Schemas["UserData"]>>("PUT", "/auth/profile"),
    /** Keeps this session and ends every other one. */
    changePassword: at<With<Schemas["ChangePasswordRequest"], null>>("POST", "/auth/change-password"),
    /** Mails a link, if there is such a user; the response is always the same. */
    forgotPassword: at<With<Schemas["EmailRequest"], null>>("POST", "/auth/forgot-password"),
    /** Ends every session and API key of the user, and begins no session. */
    resetPassword: at<With<Schemas["ResetPasswordRequest"], null>>("POST", "/auth/reset-password"),
    verifyEmail: at<With<Schemas["VerifyEmailRequest"], null>>("POST", "/auth/verify-email"),
    resendVerification: at<With<Schemas["EmailRequest"], null>>("POST", "/auth/resend-verification"),
    /** The sessions of the user. */
    sessions: at<Plain<Schemas["Sessions"]>>("GET", "/auth/sessions"),
    endSession: at<Of<null>>("DELETE", "/auth/sessions/*"),
  };
  const users = {
    list: (query: UsersQuery = {}, options?: CallOptions) => {
      const given = Object.entries(query).filter(([, value]) => value !== undefined) as [string, string][];
      return call<Schemas["Users"]>("GET", `/users?${new URLSearchParams(given)}`, undefined, options);
    },
    get: at<Of<Schemas["UserWithPermissionsData"]>>("GET", "/users/*"),
    /** Mails an invitation. */
    invite: at<With<Schemas["InviteRequest"], Schemas["Invited"]>>("POST", "/users"),
    edit: at<OfWith<Schemas["EditUserRequest"], Schemas["UserData"]>>("PUT", "/users/*"),
    delete: at<Of<null>>("DELETE", "/users/*"),
    setRole: at<OfWith<Schemas["Role"], Schemas["UserData"]>>("PUT", "/users/*/role", "role"),
    permissions: at<Of<Schemas["UserPermissions"]>>("GET", "/users/*/permissions"),
    setPermissions: at<OfWith<string[], Schemas["UserPermissions"]>>("PUT", "/users/*/permissions", "permissions"),
    addPermission: at<OfTwo<Schemas["UserPermissions"]>>("POST", "/users/*/permissions/*", ""),
    removePermission: at<OfTwo<Schemas["UserPermissions"]>>("DELETE", "/users/*/permissions/*"),
    sessions: at<Of<Schemas["Sessions"]>>("GET", "/users/*/sessions"),
    endSessions: at<Of<null>>("DELETE", "/users/*/sessions"),
    endSession: at<OfTwo<null>>("DELETE", "/users/*/sessions/*"),
    /** Every permission that the gateway knows. */
    allPermissions: at<Plain<Schemas["AllPermissions"]>>("GET", "/users/permissions/all"),
    rolePermissions: at<Of<Schemas["RolePermissions"]>>("GET", "/users/roles/*/permissions"),
  };
  const apiKeys = {
    list: at<Plain<Schemas["ApiKeys"]>>("GET", "/api-keys"),
    /** The `secret` is shown this once. */
    create: at<With<Schemas["CreateApiKeyRequest"], Schemas["CreatedApiKey"]>>("POST", "/api-keys"),
    revoke: at<Of<null>>("DELETE", "/api-keys/*"),
  };
  return { auth, users, apiKeys };
}
