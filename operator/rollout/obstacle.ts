/** Something that a rollout waits for. What holds a node or a fleet back and what people are told of it are one value. */
import type { BlockerType } from './reasons.ts';

export interface Obstacle {
  readonly type: BlockerType;
  /** A sentence that says what is waited for and what to do. It never counts time: what stays the same costs no write. */
  readonly message: string;
  readonly node?: string;
  /** The object that stands in the way, as Kind/namespace/name or Kind/name. */
  readonly object?: string;
  /** Since when, where that is known better than by when it was first seen. */
  readonly since?: Date;
  /** When it may go away, or change, by the passing of time alone. */
  readonly wake?: Date;
}
