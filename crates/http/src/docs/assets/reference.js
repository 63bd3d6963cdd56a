// Starts the viewer. All that would ask another server for something is off.
Scalar.createApiReference('#reference', {
  sources: [
    { url: '/openapi.json', title: 'Edition 2', slug: 'edition-2', default: true },
    { url: '/openapi-1.json', title: 'Edition 1', slug: 'edition-1' },
  ],
  authentication: { preferredSecurityScheme: 'ApiKey' },
  defaultOpenFirstTag: true,
  hideClientButton: true,
  orderRequiredPropertiesFirst: false,
  orderSchemaPropertiesBy: 'preserve',
  persistAuth: false,
  showDeveloperTools: 'never',
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
});
