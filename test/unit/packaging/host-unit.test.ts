import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agent } from '../../../cli/commands/agent.ts';
import { parseCommand } from '../../../cli/parse.ts';

const UNIT = join(import.meta.dirname, '..', '..', '..', 'manifests', 'host', 'treeline-agent.service');

describe('the unit of the agent', () => {
  it('starts the agent with flags that it understands, on the host itself', async () => {
    const unit = await readFile(UNIT, 'utf8');
    const [program, name, ...argv] = (/^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '').split(' ');
    assert.deepEqual([program, name], ['/usr/bin/treeline', 'agent']);
    const { flags } = parseCommand(agent, argv);
    assert.deepEqual([flags['host'], flags['sysroot']], ['ostree-admin', '/']);
  });

  it('leaves no dump of its memory behind when it crashes', async () => {
    assert.match(await readFile(UNIT, 'utf8'), /^LimitCORE=0$/m);
  });

  it('gives it mounts of its own, without which it leaves /sysroot read-only', async () => {
    assert.match(await readFile(UNIT, 'utf8'), /^PrivateMounts=yes$/m);
  });
});
