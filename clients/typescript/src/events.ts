export type SessionEventType = "signedIn" | "signedOut" | "refreshed" | "expired";

/**
 * `signedOut` follows a sign-out, `expired` a session that ended otherwise. `elsewhere` tells that it happened in another tab.
 */
export interface SessionEvent {
  readonly type: SessionEventType;
  readonly elsewhere: boolean;
}

export type Listener = (event: SessionEvent) => void;

const TYPE = /^(signed(In|Out)|refreshed|expired)$/;

/**
 * Tells listeners of this tab, and the other tabs of this origin through a BroadcastChannel called `name`. No message holds a token.
 * `heard` receives what other tabs report. Messages of an unknown form are ignored, so that versions may differ.
 */
export function sessionEvents(name: string, heard: (type: SessionEventType) => void) {
  const target = new EventTarget();
  let channel: BroadcastChannel | undefined;
  try {
    // On a server there are no tabs, and an open channel would keep the process alive.
    if (typeof location === "object") channel = new BroadcastChannel(name);
  } catch {
    // Absent, or refused as in a sandboxed frame.
  }
  if (channel) {
    channel.onmessage = ({ data }: MessageEvent<{ type?: unknown } | null>) => {
      const type = data?.type;
      if (TYPE.test(String(type))) heard(type as SessionEventType);
    };
  }

  return {
    on: (type: SessionEventType, listener: Listener): (() => void) => {
      const listening = (event: Event) => listener(event as unknown as SessionEvent);
      target.addEventListener(type, listening);
      return () => target.removeEventListener(type, listening);
    },
    /** Tells the listeners of this tab and, unless it was heard from there, the other tabs. */
    emit: (type: SessionEventType, elsewhere = false) => {
      if (!elsewhere) channel?.postMessage({ type });
      target.dispatchEvent(Object.assign(new Event(type), { elsewhere }));
    },
    close: () => channel?.close(),
  };
}

export type Events = ReturnType<typeof sessionEvents>;
