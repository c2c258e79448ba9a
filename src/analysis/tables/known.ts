/** @file The columns of the four analyses: their names, what a value belongs to, what it means. */

/** What analyses say of each example. */
export const answerColumns = {
  label_ids: { per: "example", type: "int32", description: "token of the right answer" },
  orig_labels: { per: "example", type: "int32", description: "class of the right answer" },
  answer_indices: { per: "example", type: "int32", description: "position in the padded row where the answer is read" },
  loss: { per: "example", type: "float32", description: "cross entropy of the right answer over the vocabulary" },
  logit_diffs: {
    per: "example",
    type: "float32",
    description: "logit of the right answer minus the mean (or the best) of the others",
  },
  preds: { per: "example", type: "int32", description: "class with the largest answer logit" },
  answer_logits: { per: "example", type: "float32", list: true, description: "logits of the answers, one per class" },
} as const;

/** What is kept of the data beside them. */
export const inputColumns = {
  prompts: { per: "example", type: "string", optional: true, description: "text of the example" },
  tokens: { per: "example", type: "int32", list: true, optional: true, description: "token ids without padding" },
  answers: { per: "example", type: "string", list: true, optional: true, description: "text of each class' answer" },
} as const;

/** What analyses say of each active latent. */
export const effectColumns = {
  attribution_values: { per: "latent", type: "float32", description: "effect on the logit difference, unmasked" },
  ablated_logit_diff: { per: "latent", type: "float32", description: "logit difference with this latent set to 0" },
  ablated_loss: { per: "latent", type: "float32", description: "loss with this latent set to 0" },
  ablated_pred: { per: "latent", type: "int32", description: "predicted class with this latent set to 0" },
} as const;

/** The column of ops that says which latents are active: the rows of the table of latents stand for it. */
export const aliveColumn = "alive_latents";
