/** `treeline explain`. */
import { recordedSnapshot } from '../../operator/recorded-snapshot.ts';
import { explainImage, explainNode } from '../../operator/rollout/explain.ts';
import { kubeconfigPath, readCluster } from '../cluster.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { imageText, nodeText } from '../explanation.ts';
import { KUBECONFIG_FLAG } from '../os-image.ts';

export const explain = defineCommand({
  name: 'explain',
  summary: 'Say why a node, or an OSImage, is where it is.',
  description: [
    'Reads the OSImages, NodeOSes and Nodes of a cluster and lets the planner of the operator say, in its own sentences, what a node waits for, since when, who is to act, and what to do. Nothing is changed; the right to list these three is enough.',
    'What registries and evictions answered only the running operator has heard: that is shown as it has written it down.',
    'The exit status is 0 when there is something to explain, whatever is in its way, and 1 when there is no such node or OSImage, or no cluster to ask.',
  ],
  args: {},
  more: { synopsis: '[NODE]', max: 1 },
  flags: {
    image: { type: 'string', value: 'NAME', description: 'Explain this OSImage instead of a node.' },
    kubeconfig: KUBECONFIG_FLAG,
  },
  examples: ['treeline explain node-1', 'treeline explain --image workers', 'treeline explain node-1 -o json'],
  run: async ({ flags, more, output, signal, environment }) => {
    const [node] = more;
    if ((node === undefined) === (flags.image === undefined))
      throw new CliError(
        'Usage',
        'Name either a node or, with --image, an OSImage; `treeline explain --help` shows how.',
      );
    const snapshot = recordedSnapshot(await readCluster(kubeconfigPath(flags.kubeconfig, environment), signal));
    const now = new Date();
    if (node !== undefined) {
      const explained = explainNode(snapshot, node, now);
      if (explained === undefined)
        throw new CliError('NotFound', `There is no node ${node}; \`kubectl get nodes\` lists them.`);
      output.result(explained, nodeText(explained));
      return 0;
    }
    const name = flags.image ?? '';
    const explained = explainImage(snapshot, name, now);
    if (explained === undefined)
      throw new CliError('NotFound', `There is no OSImage ${name}; \`kubectl get osimages\` lists them.`);
    output.result(explained, imageText(explained));
    return 0;
  },
});
