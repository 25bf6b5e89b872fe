package benchmarks

import (
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/extractors"
	"github.com/gofiber/fiber/v3/middleware/keyauth"
	echo4 "github.com/labstack/echo/v4"
	middleware4 "github.com/labstack/echo/v4/middleware"
	echo5 "github.com/labstack/echo/v5"
	middleware5 "github.com/labstack/echo/v5/middleware"
	"github.com/valyala/fasthttp"
	"net/http"
)

func newEcho5(w *Work, serve Serve) (*Server, error) {
	all := w.accounts()
	return bearer(w, func(bits uint64, _ []string) http.Handler {
		e := echo5.New()
		e.Use(middleware5.KeyAuth(func(c *echo5.Context, key string, _ middleware5.ExtractorSource) (bool, error) {
			a := all.find(key)
			if a == nil {
				return false, nil
			}
			c.Set("account", a)
			return true, nil
		}))
		e.GET("/", func(c *echo5.Context) error {
			a, _ := c.Get("account").(*account)
			if a == nil {
				return c.NoContent(serve(""))
			}
			return c.NoContent(serve(a.name))
		}, func(next echo5.HandlerFunc) echo5.HandlerFunc {
			return func(c *echo5.Context) error {
				if a, _ := c.Get("account").(*account); a == nil || a.permissions&bits != bits {
					return echo5.ErrForbidden
				}
				return next(c)
			}
		})
		return e
	}), nil
}

func newEcho4(w *Work, serve Serve) (*Server, error) {
	all := w.accounts()
	return bearer(w, func(bits uint64, _ []string) http.Handler {
		e := echo4.New()
		e.Use(middleware4.KeyAuth(func(key string, c echo4.Context) (bool, error) {
			a := all.find(key)
			if a == nil {
				return false, nil
			}
			c.Set("account", a)
			return true, nil
		}))
		e.GET("/", func(c echo4.Context) error {
			a, _ := c.Get("account").(*account)
			if a == nil {
				return c.NoContent(serve(""))
			}
			return c.NoContent(serve(a.name))
		}, func(next echo4.HandlerFunc) echo4.HandlerFunc {
			return func(c echo4.Context) error {
				if a, _ := c.Get("account").(*account); a == nil || a.permissions&bits != bits {
					return echo4.ErrForbidden
				}
				return next(c)
			}
		})
		return e
	}), nil
}

func newFiber(w *Work, serve Serve) (*Server, error) {
	all := w.accounts()
	type accountKey struct{}
	var handlers [2]fasthttp.RequestHandler
	for _, r := range []Route{Allowed, Forbidden} {
		bits := w.bits(r)
		app := fiber.New()
		app.Use(keyauth.New(keyauth.Config{
			Extractor: extractors.FromAuthHeader("Bearer"),
			Validator: func(c fiber.Ctx, key string) (bool, error) {
				a := all.find(key)
				if a == nil {
					return false, keyauth.ErrMissingOrMalformedAPIKey
				}
				fiber.Locals(c, accountKey{}, a)
				return true, nil
			},
		}))
		app.Use(func(c fiber.Ctx) error {
			if a := fiber.Locals[*account](c, accountKey{}); a == nil || a.permissions&bits != bits {
				return fiber.ErrForbidden
			}
			return c.Next()
		})
		app.Get("/", func(c fiber.Ctx) error {
			a := fiber.Locals[*account](c, accountKey{})
			if a == nil {
				c.Status(serve(""))
				return nil
			}
			c.Status(serve(a.name))
			return nil
		})
		handlers[r] = app.Handler()
	}
	return &Server{
		Tokens: w.tokens(), Unknown: w.unknown, Scheme: "Bearer",
		native: func(r Route) Client { return fastClient(handlers[r]) },
	}, nil
}

// fastClient is what client is, for fasthttp.
func fastClient(h fasthttp.RequestHandler) Client {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(new(fasthttp.Request), nil, nil)
	ctx.Request.Header.SetMethod("GET")
	ctx.Request.SetRequestURI("/")
	ctx.Request.Header.SetHost("api.example.org")
	ctx.Request.Header.SetUserAgent("client/1.0")
	ctx.Request.Header.Set("Accept", "application/json")
	ctx.Request.Header.Set("Accept-Encoding", "gzip")
	return func(authorization string) int {
		ctx.Response.Reset()
		ctx.ResetUserValues()
		if authorization == "" {
			ctx.Request.Header.Del("Authorization")
		} else {
			ctx.Request.Header.Set("Authorization", authorization)
		}
		h(ctx)
		return ctx.Response.StatusCode()
	}
}
