/** What the story is told of, however its nodes are made. */
import type { ControlPlane } from '../testbed/control-plane.ts';
import type { OSVersion, PublishedVersion } from '../testbed/os-publication.ts';
import type { CommandResult } from '../tools/setup/command.ts';

export interface DemoNode {
  readonly name: string;
  /** How often it has rebooted since the start. */
  readonly reboots: number;
  /** `ostree admin status` of the node. */
  ostreeStatus(): Promise<CommandResult>;
  /** `ostree fsck` of its repository. */
  fsck(): Promise<CommandResult>;
}

export interface DemoFleet extends AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly versions: Readonly<Record<OSVersion, PublishedVersion>>;
  /** What the later versions have that the one before has not. */
  readonly news: Readonly<Record<2 | 3, string>>;
  readonly nodes: readonly DemoNode[];
  /** What a command in another terminal has to begin with to reach the API. */
  readonly way: readonly string[];
}

export interface DemoFleetOptions {
  readonly nodes: number;
  readonly logFolder: string;
  readonly say: (sentence: string) => void;
  /** Aborts the start; what was started by then is stopped. */
  readonly signal: AbortSignal;
}
