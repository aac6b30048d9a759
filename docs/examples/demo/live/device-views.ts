/** Where a session was begun. */
export interface Device {
  /** As its user would call it. */
  readonly name: string;
  /** The node that it logged in on. */
  readonly node: number;
  /** When, in milliseconds since 1970. */
  readonly since: number;
}

/** A device as the account lists it. */
export interface ListedDevice extends Device {
  /** By which it is logged out. */
  readonly publicId: string;
  /** The beginning of that: of its session's id. */
  readonly digest: string;
  /** Whether it is the one that asks. */
  readonly isThis: boolean;
}

/** What `GET /devices` answers. */
export interface Devices {
  /** Null when nobody is logged in, and then no device is listed. */
  readonly user: string | null;
  readonly devices: readonly ListedDevice[];
}

/** What a node says to a device's cookie. */
export interface NodeAnswer {
  readonly node: number;
  readonly says: "logged in" | "logged out" | "no answer";
}

/** A device that the demo makes up, logged in or not, and what each node says to it now. */
export interface MadeUpDevice extends Device {
  readonly digest: string;
  readonly answers: readonly NodeAnswer[];
}
