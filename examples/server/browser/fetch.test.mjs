// The API, and the management of tokens, by openapi-fetch: a client that takes
// its requests from an OpenAPI document, here that of the running server.
// fetch_test.go starts both.
import { test } from "node:test";
import assert from "node:assert/strict";
import createClient from "openapi-fetch";

const { SERVER_URL: server, API_TOKEN: token } = process.env;
const manage = createClient({
	baseUrl: `${server}/manage/api`,
	headers: { Authorization: `apiToken ${token}` },
});

test("tokens are managed", async () => {
	const { data: document } = await manage.GET("/openapi.json");
	const described = (path, method) => assert.ok(document.paths[path][method], `${method} ${path}`);

	described("/self", "get");
	const { data: self } = await manage.GET("/self");
	assert.equal(self.owner, "admin");
	assert.deepEqual(self.permissions, ["devices:read", "tokens:manage"]);

	described("/tokens", "post");
	const { data: made, response } = await manage.POST("/tokens", {
		body: { name: "made by openapi-fetch", permissions: ["devices:read"], expires_in: "1h" },
	});
	assert.equal(response.status, 201);

	described("/tokens", "get");
	const { data: list } = await manage.GET("/tokens", { params: { query: { q: made.token.id } } });
	assert.deepEqual(list.tokens.map(({ id }) => id), [made.token.id]);

	described("/tokens/{id}", "delete");
	const params = { path: { id: made.token.id } };
	assert.equal((await manage.DELETE("/tokens/{id}", { params })).response.status, 204);
	const { data: deleted } = await manage.GET("/tokens/{id}", { params });
	assert.equal(deleted.status, "deleted");
	const again = await manage.DELETE("/tokens/{id}", { params });
	assert.equal(again.error.status, 404, "problem documents are errors to it");

	const widened = await manage.POST("/tokens", {
		body: { name: "too much", permissions: ["devices:write"], expires_in: "1h" },
	});
	assert.equal(widened.response.status, 403);
	assert.deepEqual(widened.error.permissions, ["devices:write"]);
});

test("the API is called with the header, and with the parameter", async () => {
	const header = createClient({ baseUrl: server, headers: { Authorization: `apiToken ${token}` } });
	const { data } = await header.GET("/api/devices");
	assert.equal(data.devices.length, 2);

	const query = createClient({ baseUrl: server });
	assert.equal((await query.GET("/api/devices", { params: { query: { apiToken: token } } })).response.status, 200);

	const none = await query.GET("/api/devices");
	assert.equal(none.response.status, 401);
	assert.equal(none.response.headers.get("WWW-Authenticate"), 'apiToken realm="api"');
	assert.equal(none.error.title, "API token required");
});
