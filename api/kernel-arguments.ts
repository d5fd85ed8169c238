/** `spec.kernelArguments` of an OSImage: what the kernel of the next deployment is started with. */
import * as z from 'zod';

const argument = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[!-~]+$/)
  .meta({
    'x-kubernetes-validations': [
      { rule: "!self.startsWith('ostree=')", message: 'ostree= is set for each deployment by libostree itself' },
    ],
  });

/** Also what an order carries. Arguments are whole, as in /proc/cmdline: `NAME` or `NAME=VALUE`, without spaces. */
export const kernelArgumentsSchema = z
  .strictObject({
    append: z
      .array(argument.describe('`NAME` or `NAME=VALUE`, without spaces.'))
      .max(32)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe('Arguments that are added at the end, in this order, if the deployment does not have them yet.'),
    delete: z
      .array(argument.describe('`NAME` or `NAME=VALUE`, exactly as the deployment has it.'))
      .max(32)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe('Arguments that are taken away, if the deployment has them.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: '!has(self.append) || !has(self.delete) || self.append.all(one, !(one in self.delete))',
        message: 'an argument cannot be in both append and delete',
      },
    ],
  });

export const kernelArgumentsSpecSchema = kernelArgumentsSchema
  .optional()
  .describe(
    'Kernel arguments of what is staged from now on: those of the deployment that the node runs, without `delete`, and with `append`. A change alone stages nothing and reboots nobody: it goes with the next image, and what is staged already keeps those that it was staged with. An argument that is taken out of `append` later stays until it is in `delete`. Absent: the arguments stay as they are.',
  );

export type KernelArguments = z.infer<typeof kernelArgumentsSchema>;
