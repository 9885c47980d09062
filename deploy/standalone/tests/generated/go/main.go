// Uses the clients that openapi-generator makes for Go of both documents: API CONSOLE KEY.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"generated/api"
	"generated/console"
)

// More than 32 bits.
const minor = int64(5_000_000_000)

func must(what string, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, what+":", err)
		os.Exit(1)
	}
}

func main() {
	apiURL, consoleURL, key := os.Args[1], os.Args[2], os.Args[3]
	ctx := context.WithValue(context.Background(), api.ContextAccessToken, key)
	config := api.NewConfiguration()
	config.Servers = api.ServerConfigurations{{URL: apiURL}}
	client := api.NewAPIClient(config)

	link := api.NewLinkCreate("ann", "https://shop.example/go")
	link.SetHost("go.example")
	link.SetCode("from-go")
	link.SetChannel("email")
	_, _, err := client.LinksAPI.CreateLinks(ctx, "p").LinkCreate(*link).Execute()
	must("create a link", err)
	shown, _, err := client.LinksAPI.ShowLink(ctx, "p", "go.example", "from-go").Execute()
	must("show it", err)
	if shown.Referrer != "ann" || shown.GetChannel() != "email" {
		must("the link", fmt.Errorf("%+v", shown))
	}

	lead := api.NewLead("lead", "p", "lead of go")
	lead.SetLead("go")
	lead.SetCode("from-go")
	answer, _, err := client.EventsAPI.Send(ctx).Event(api.LeadAsEvent(lead)).Execute()
	must("send a lead", err)
	if answer.Status != "accepted" {
		must("the answer", fmt.Errorf("%+v", answer))
	}
	order := api.NewQualification("qualification", "p", "order of go", "purchase")
	order.SetLead("go")
	value := api.NewMoney(api.Currency("EUR"))
	value.SetMinor(minor)
	order.SetValue(*value)
	batch := []api.Event{api.QualificationAsEvent(order), api.LeadAsEvent(lead)}
	outcomes, _, err := client.EventsAPI.SendBatch(ctx).Event(batch).Execute()
	must("send a batch", err)
	if outcomes.Accepted != 2 || len(outcomes.Results) != 2 {
		must("the outcomes", fmt.Errorf("%+v", outcomes))
	}
	bad := api.NewLead("lead", "p", "nobody's")
	_, response, err := client.EventsAPI.Send(ctx).Event(api.LeadAsEvent(bad)).Execute()
	if err == nil || response.StatusCode != http.StatusUnprocessableEntity {
		must("a lead of nobody", fmt.Errorf("%v", response))
	}

	read := console.NewConfiguration()
	read.Servers = console.ServerConfigurations{{URL: consoleURL}}
	reader := console.NewAPIClient(read)
	ctx = context.WithValue(context.Background(), console.ContextAccessToken, key)
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		page, _, err := reader.PeopleAPI.Status(ctx, "p").Referrer("ann").Execute()
		must("ask for states", err)
		for _, lead := range page.Items {
			if lead.Lead == "go" && lead.ValueMinor["EUR"] == minor {
				_, _, err := reader.ReportsAPI.TopReferrers(ctx, "p").Execute()
				must("ask for a report", err)
				fmt.Println("go: sent and read back")
				return
			}
		}
		if time.Now().After(deadline) {
			must("the lead's state", fmt.Errorf("%+v", page.Items))
		}
	}
}
