import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cgroupsThatBeginWith } from '../../testbed/nodes/cgroups.ts';
import { LabFolder } from '../../testbed/nodes/lab-folder.ts';
import { tryCommand } from '../../tools/setup/command.ts';

describe('a lab of real nodes that is killed', () => {
  it('leaves a folder and cgroups, which the next lab removes, and nothing of a lab that lives', async () => {
    const { stdout, signal } = await tryCommand(process.execPath, [
      fileURLToPath(new URL('./killed-lab.ts', import.meta.url)),
    ]);
    assert.equal(signal, 'SIGKILL');
    const [folder = '', cgroup = ''] = stdout.trim().split(' ');
    assert.ok(existsSync(folder));
    assert.deepEqual(await cgroupsThatBeginWith(cgroup), [cgroup]);
    const said: string[] = [];
    await using alive = await LabFolder.claim((line) => said.push(line));
    assert.ok(!existsSync(folder));
    assert.deepEqual(await cgroupsThatBeginWith(cgroup), []);
    assert.ok(
      said.some((line) => line.includes(folder)),
      said.join('\n'),
    );
    await using _another = await LabFolder.claim(() => undefined);
    assert.ok(existsSync(alive.path));
  });
});
