/**
 * Objects of one cluster-scoped kind by name, fed by a watch and by the answers to our own writes. A watch runs behind
 * the writes: an event that is older than what is held is dropped, so that no plan is made on a picture from before its
 * own last action.
 */
import type { ObjectMeta } from '../../api/index.ts';
import { compareResourceVersions, supersedes } from './resource-version.ts';

export interface CachedObject {
  readonly metadata: ObjectMeta;
}

export class ObjectCache<T extends CachedObject> {
  readonly #objects = new Map<string, T>();
  /** UIDs that we deleted, until the watch has seen it too. */
  readonly #deleted = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  #hasSynced = false;
  /** Newest version that a list or the watch has reported: how far the watch has come. */
  #watchedVersion = '0';

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get size(): number {
    return this.#objects.size;
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  values(): T[] {
    return [...this.#objects.values()];
  }

  /** Calls `listener` after each change of content. Listeners only take note; they must not throw. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Takes in the answer to a write or a GET. */
  observe(object: T): void {
    if (this.#set(object)) this.#notify();
  }

  /** Notes that `name` with this UID is gone from the API, as we have just been told by it. */
  forget(name: string, uid: string): void {
    const held = this.#objects.get(name);
    if (held === undefined || held.metadata.uid !== uid) return;
    this.#objects.delete(name);
    this.#deleted.add(uid);
    this.#notify();
  }

  applyEvent(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T): void {
    const { name, uid, resourceVersion } = object.metadata;
    this.#watchedVersion = resourceVersion;
    if (type !== 'DELETED') {
      if (this.#set(object)) this.#notify();
      return;
    }
    this.#deleted.delete(uid);
    const held = this.#objects.get(name);
    // Deleted and created anew by us before the watch told of the deletion: the new one stays.
    if (held === undefined || held.metadata.uid !== uid) return;
    this.#objects.delete(name);
    this.#notify();
  }

  /** Takes in a complete list, read at `listVersion`. */
  replace(objects: readonly T[], listVersion: string): void {
    // A list older than what was watched means that the API was restored from a backup: then only the list counts.
    const order = compareResourceVersions(listVersion, this.#watchedVersion);
    const restored = order !== undefined && order < 0;
    this.#watchedVersion = listVersion;
    const listed = new Map(objects.map((object) => [object.metadata.name, object]));
    const uids = new Set(objects.map((object) => object.metadata.uid));
    let changed = !this.#hasSynced;
    for (const uid of this.#deleted) if (restored || !uids.has(uid)) this.#deleted.delete(uid);
    for (const [name, held] of this.#objects) {
      // Created by us after the list was read: its event is still to come.
      const writtenSince = !restored && (compareResourceVersions(held.metadata.resourceVersion, listVersion) ?? -1) > 0;
      if (restored || (!listed.has(name) && !writtenSince)) changed = this.#objects.delete(name) || changed;
    }
    for (const object of listed.values()) changed = this.#set(object) || changed;
    this.#hasSynced = true;
    if (changed) this.#notify();
  }

  #set(object: T): boolean {
    const { name, uid, resourceVersion } = object.metadata;
    if (this.#deleted.has(uid)) return false;
    const held = this.#objects.get(name);
    if (held !== undefined && !supersedes(resourceVersion, held.metadata.resourceVersion)) return false;
    this.#objects.set(name, object);
    return held === undefined || !sameContent(held, object);
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** Heartbeats change nothing but the version (what else they touch is trimmed away) and must not cause a plan each. */
function sameContent(a: CachedObject, b: CachedObject): boolean {
  const content = (object: CachedObject) =>
    JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: '' } });
  return content(a) === content(b);
}
