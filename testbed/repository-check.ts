/**
 * `ostree fsck` of a repository that an agent may be pruning at the same moment. fsck takes no lock and trips over
 * objects that go while it looks; with the repository's lock held shared, a pruner (which wants it exclusive) waits.
 */
import { Repository } from '../ostree/index.ts';
import { tryCommand } from '../tools/setup/command.ts';
import type { CommandResult } from '../tools/setup/command.ts';

/** What `ostree fsck` said; its exit code is 0 for a clean repository. */
export async function checkRepository(path: string): Promise<CommandResult> {
  using _lock = await Repository.open(path).lock('shared');
  return tryCommand('ostree', ['fsck', `--repo=${path}`]);
}
