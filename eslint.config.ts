import tseslint, { type ConfigArray } from "typescript-eslint";

const config: ConfigArray = tseslint.config(
  {
    ignores: [
      "dist/**",
      ".cache/**",
      "scripts/**",
      "coverage/**",
      "docs/reference/**",
      "node_modules/**",
      "test/support/onnx_pb.*",
      "runs/**",
    ],
  },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true, allowNullish: true },
      ],
      eqeqeq: "error",
      "prefer-const": "error",
    },
  },
);

export default config;
