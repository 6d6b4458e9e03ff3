/** What a close asks of the client: the words of wsguard's table of close reasons. */
export type Advice =
  | "log in"
  | "give up"
  | "back off"
  | "reconnect after retry-after"
  | "reconnect when needed";

/** How a connection, or the attempt at one, ended. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
}

/** The last event: nothing comes after it. */
export interface ClosedEvent extends Event, Closed {}

/** There is no connection just now. `delay`: milliseconds to the next attempt; undefined while a log-in is awaited or a
 * successor is on its way, Infinity until there is something to send. */
export interface AwayEvent extends Event, Closed {
  readonly advice: Advice;
  readonly delay: number | undefined;
}

export interface Events {
  open: Event;
  message: MessageEvent;
  error: Event;
  close: ClosedEvent;
  away: AwayEvent;
}

/** Durations are milliseconds. Where a function of a message or a close throws, it has said `undefined`. */
export interface Options {
  /** Whose sockets are used; default: the global one, as it was when the module was loaded. */
  WebSocket?: new (url: string, protocols?: any) => any;
  /** Who asks the guard for tokens and renewals; default: the global one. */
  fetch?: (input: URL, init: RequestInit) => Promise<Response>;
  /** The window of the first wait; it doubles with each attempt in vain. Default 5000. */
  firstDelay?: number;
  /** The widest window. Default 60000. */
  maxDelay?: number;
  /** How long a handshake may take, or an answer of the guard's over HTTP. Default 20000. */
  connectTimeout?: number;
  /** How long an opened connection is waited for to be refused, where the server says nothing. Default 200. */
  settle?: number;
  /** How long a connection that was replaced is heard, if it does not close by itself. Default 60000. */
  overlap?: number;
  /** Bytes of what is sent while there is no connection; send() throws QuotaExceededError beyond it. Default 1 MiB. */
  maxQueue?: number;
  /** Whether a message asks for a new connection before this one closes; it is not passed on. null: none does. */
  hint?: ((data: any) => boolean | undefined) | null;
  /** Whether a message says that the session expires soon; with `renew` it is not passed on. null: none does. */
  expiring?: ((data: any) => boolean | undefined) | null;
  /** The key of a message, or undefined: a key that was seen among the last 1000 is dropped. */
  id?: (data: any) => unknown;
  /** Keep the session's connections alive as its credential is renewed; a function fetches the newer credential first. */
  renew?: boolean | (() => unknown);
  /** Show a handshake token, fetched for each connection. */
  handshakeToken?: boolean;
  /** What a code of your own, or of your policy's `rejection`, asks; undefined: as wsguard's default profile has it. */
  advise?: (close: Closed) => Advice | undefined;
  /** Logs the user in, and resolves; rejects where that is not to be. */
  onauthrequired?: (close: Closed) => unknown;
}

/** A WebSocket that comes back. */
export default class GuardedWebSocket extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  /** `protocols` may be a function, asked for each connection: for a credential among them that changes. */
  constructor(
    url: string | URL,
    protocols?: string | string[] | (() => string | string[] | Promise<string | string[]>),
    options?: Options,
  );

  onopen: ((event: Event) => unknown) | null;
  onmessage: ((event: MessageEvent) => unknown) | null;
  onerror: ((event: Event) => unknown) | null;
  onclose: ((event: ClosedEvent) => unknown) | null;
  onaway: ((event: AwayEvent) => unknown) | null;
  onauthrequired: ((close: Closed) => unknown) | undefined;

  binaryType: BinaryType;
  readonly bufferedAmount: number;
  readonly extensions: string;
  readonly protocol: string;
  readonly readyState: 0 | 1 | 2 | 3;
  readonly url: string;

  /** Throws a DOMException called QuotaExceededError where there is no connection and the queue is full. */
  send(data: string | ArrayBufferLike | ArrayBufferView | Blob): void;
  close(code?: number, reason?: string): void;

  addEventListener<K extends keyof Events>(
    type: K,
    listener: ((event: Events[K]) => unknown) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** What a close asks of the client, in wsguard's default profile. */
export function advise(code: number, reason?: string): Advice;

/** The seconds in a close's reason text, if any. */
export function retryAfter(reason: string | undefined): number | undefined;

/** Milliseconds to wait after so many attempts in a row that led to no steady connection. `asked` is in seconds. */
export function delay(
  tries: number,
  asked: number | undefined,
  options: { firstDelay?: number; maxDelay?: number; random?: () => number; hidden?: boolean },
): number;
