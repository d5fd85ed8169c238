/** SELinux policies, which come with images: their files, and the expressions in them. */
import { CommitLabels } from '../../ostree/selinux/commit-labels.ts';
import { FileLabels } from '../../ostree/selinux/file-labels.ts';
import { parsePolicyConfig } from '../../ostree/selinux/policy-config.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const CONFIG = '# c\nSELINUX=enforcing\nSELINUXTYPE=targeted\n';
const CONTEXTS = `# comment
/.* system_u:object_r:default_t:s0
/ -d system_u:object_r:root_t:s0
/usr/(.*/)?bin(/.*)?\tsystem_u:object_r:bin_t:s0
/usr/lib(64)?/[^/]*\\.so(\\.[0-9]+)* -- system_u:object_r:lib_t:s0
/tmp/.* <<none>>
/dev/[[:alpha:]]{2,3}[^a-c] -b system_u:object_r:disk_t:s0
/var/lost\\+found -d system_u:object_r:lost_t:s0
`;
const SUBSTITUTIONS = '/usr/etc /etc\n/lib /usr/lib\n# c\n/root /\n';
const EXPRESSION_PIECES = [
  '/',
  'a',
  '.',
  '.*',
  '(',
  ')',
  '(?:',
  '(?=',
  '|',
  '[^/]',
  '[a-',
  ']',
  '*',
  '+',
  '{1,3}',
  '{999}',
  '\\d',
  '$',
];
const PATHS = ['/', '/usr/bin/x', '/usr/lib64/liba.so.1', '/tmp/x', '/dev/sdz', '/proc', '/lib/a/aaa', '/a/a/a'];
const MODES = [0o100644, 0o040755, 0o120777];

/** @throws PolicyError for what is no policy, and another for a label that no policy could mean. */
export function labelPaths(
  fileContexts: string,
  subs = SUBSTITUTIONS,
  more: readonly string[] = [],
  mode = 0o100644,
): void {
  const labels = new CommitLabels(new FileLabels({ fileContexts, subs, subsDist: SUBSTITUTIONS }), 1);
  for (const path of [...PATHS, ...more]) {
    const label = labels.lookup(path, mode);
    // What is set on a file is a context of the policy, and nothing that ends early or spans lines.
    if (label !== undefined && (!/^[!-~]+$/.test(label) || !fileContexts.includes(label))) {
      throw new Error(`${path} got the label ${JSON.stringify(label)}`);
    }
  }
}

function labelEverything(random: Random, fileContexts: string): void {
  const subs = random.damaged(Buffer.from(SUBSTITUTIONS)).toString('latin1');
  const path = `/${random.text(['a', '/', 'usr', 'bin'], 8)}`;
  attempt(['PolicyError'], () => labelPaths(fileContexts, subs, [path], random.pick(MODES)));
}

const policyFiles: FuzzTarget = {
  name: 'policy-files',
  round: (random) => {
    attempt(['PolicyError'], () => parsePolicyConfig(random.damaged(Buffer.from(CONFIG)).toString('latin1')));
    labelEverything(random, random.damaged(Buffer.from(CONTEXTS)).toString('latin1'));
  },
};

const policyExpressions: FuzzTarget = {
  name: 'policy-expressions',
  round: (random) => {
    const lines = Array.from({ length: 1 + random.below(4) }, () => random.text(EXPRESSION_PIECES, 12));
    labelEverything(random, ['/ u:r:root:s0', ...lines.map((line) => `/${line} u:r:t:s0`)].join('\n'));
  },
};

export const POLICY_TARGETS = [policyFiles, policyExpressions];
