package templates

import "reflect"

// copyVars returns a copy of vars, with copies of maps and slices at any depth: functions such as set and sortAlpha modify their
// arguments. The result is never nil.
func copyVars(vars map[string]any) map[string]any {
	c := make(map[string]any, len(vars))
	for key, value := range vars {
		if value != nil {
			value = clone(reflect.ValueOf(value)).Interface()
		}
		c[key] = value
	}
	return c
}

func clone(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		return clone(v.Elem())
	case reflect.Map:
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			c.SetMapIndex(key, clone(value))
		}
		return c
	case reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i, value := range v.Seq2() {
			c.Index(int(i.Int())).Set(clone(value))
		}
		return c
	}
	return v
}
