package templates

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// ports is the function getPorts: from each exported service port of the service to the port of an instance.
func (s *services) ports(service string) map[string]string {
	ports := map[string]string{}
	for servicePort, port := range s.exported(service) {
		ports[strconv.FormatInt(servicePort, 10)] = strconv.FormatInt(port, 10)
	}
	return ports
}

// portFor is the function of that name: it returns the port at which the instance serves servicePort.
func (x *execution) portFor(servicePort, instance any) (string, error) {
	port, _, err := portOf(servicePort, instance)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(port.Port, 10), nil
}

// ipFor is the function of that name: it returns the address at which the instance serves servicePort.
func (x *execution) ipFor(servicePort, instance any) (string, error) {
	port, inst, err := portOf(servicePort, instance)
	if err != nil {
		return "", err
	}
	address := cmp.Or(port.IP, inst.Hostname)
	if x.t.cfg.UseHostnames {
		address = inst.Hostname
	}
	if address == "" {
		return "", failf("%s has no address for service port %d", describe(inst), port.ServicePort)
	}
	return address, nil
}

// ownsPort is the function of that name: it reports whether servicePort belongs to the service.
func (s *services) ownsPort(service string, servicePort any) (bool, error) {
	number, err := portNumber(servicePort)
	if err != nil {
		return false, err
	}
	owner, ok := s.portOwners[number]
	return ok && owner == service, nil
}

// portOf returns the port of the instance for servicePort. It prefers a port over TCP, which is what proxies speak.
func portOf(servicePort, instance any) (sdk.Port, sdk.Instance, error) {
	inst, err := toInstance(instance)
	if _, swapped := servicePort.(sdk.Instance); err != nil && swapped {
		return sdk.Port{}, inst, failf("the arguments are swapped: the service port comes first and the instance second")
	}
	if err != nil {
		return sdk.Port{}, inst, err
	}
	number, err := portNumber(servicePort)
	if err != nil {
		return sdk.Port{}, inst, err
	}
	matches := func(p sdk.Port) bool { return p.ServicePort == number && number > 0 }
	i := slices.IndexFunc(inst.Ports, func(p sdk.Port) bool { return matches(p) && isExported(p) })
	if i < 0 {
		i = slices.IndexFunc(inst.Ports, matches)
	}
	if i < 0 {
		return sdk.Port{}, inst, failf("%s has no service port %d; it offers %s", describe(inst), number, offeredPorts(inst))
	}
	return inst.Ports[i], inst, nil
}

func toInstance(v any) (sdk.Instance, error) {
	switch inst := v.(type) {
	case sdk.Instance:
		return inst, nil
	case *sdk.Instance:
		if inst != nil {
			return *inst, nil
		}
	}
	return sdk.Instance{}, failf(
		"an instance is expected here, as in {{ range .Services.NAME }}, and this is %s", kindOf(v))
}

// portNumber converts what templates have as port numbers: keys of getPorts, numbers, .Vars from any configuration format.
func portNumber(v any) (int64, error) {
	value := reflect.ValueOf(v)
	switch {
	case value.Kind() == reflect.String:
		if n, err := strconv.ParseInt(strings.TrimSpace(value.String()), 10, 64); err == nil {
			return n, nil
		}
		return 0, failf("a service port is expected here, and %q is not a number", value.String())
	case value.CanInt():
		return value.Int(), nil
	case value.CanUint() && value.Uint() <= 1<<16:
		return int64(value.Uint()), nil //nolint:gosec // checked above
	case value.CanFloat() && value.Float() == float64(int64(value.Float())):
		return int64(value.Float()), nil
	}
	return 0, failf("a service port is expected here, and this is %s", kindOf(v))
}

func kindOf(v any) string {
	if v == nil {
		return "nothing"
	}
	return fmt.Sprintf("of type %T", v)
}
