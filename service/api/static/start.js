// Shows the API's document. No validator: it would ask a site outside.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  requestInterceptor(request) {
    const token = sessionStorage.getItem("foreswap-csrf");
    if (token) request.headers["X-CSRF-Token"] = token;
    return request;
  },
  responseInterceptor(response) {
    if (response.url && response.url.endsWith("/session") && response.body && response.body.csrf_token) {
      sessionStorage.setItem("foreswap-csrf", response.body.csrf_token);
    }
    return response;
  },
});
