package storetest

import (
	"context"
	"errors"

	"github.com/apitoken-go/apitoken"
)

// createAllFaults are about CreateAll. Each is what a store might do with a record.
var createAllFaults = []fault{
	{"says in CreateAll that it added what exists", oneByOne(func(s *faulty, ctx context.Context, rec apitoken.Record) (bool, error) {
		err := s.Store.Create(ctx, rec)
		return err == nil || errors.Is(err, apitoken.ErrExists), nil
	}), []string{"CreateAllAddsWhatDoesNotExist", "CreateAllAtOnceAddsEachRecordOnce"}},
	{"says in CreateAll that it added nothing", oneByOne(func(s *faulty, ctx context.Context, rec apitoken.Record) (bool, error) {
		s.Store.Create(ctx, rec)
		return false, nil
	}), []string{"CreateAllAddsWhatDoesNotExist", "CreateAllAtOnceAddsEachRecordOnce"}},
	{"overwrites in CreateAll", oneByOne(func(s *faulty, ctx context.Context, rec apitoken.Record) (bool, error) {
		gone := s.Store.Delete(ctx, rec.ID)
		return gone != nil, s.Store.Create(ctx, rec)
	}), []string{"CreateAllAddsWhatDoesNotExist"}},
	{"adds nothing in CreateAll if one exists", func(s *faulty) {
		s.all = func(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
			for _, rec := range recs {
				if _, err := s.Store.Get(ctx, rec.ID); err == nil {
					return make([]bool, len(recs)), nil
				}
			}
			return s.Store.CreateAll(ctx, recs)
		}
	}, []string{"CreateAllAddsWhatDoesNotExist"}},
	{"answers in CreateAll for what it added only", func(s *faulty) {
		s.all = func(ctx context.Context, recs []apitoken.Record) (added []bool, err error) {
			all, err := s.Store.CreateAll(ctx, recs)
			for _, ok := range all {
				if ok {
					added = append(added, true)
				}
			}
			return added, err
		}
	}, []string{"CreateAllAddsWhatDoesNotExist", "CreateAllAtOnceAddsEachRecordOnce"}},
	{"forgets the end of CreateAll without an error", func(s *faulty) {
		s.all = func(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
			n := len(recs) - 1
			added, err := s.Store.CreateAll(ctx, recs[:max(n, 0)])
			return append(added, true)[:len(recs)], err
		}
	}, []string{"CreateAllAddsWhatDoesNotExist", "CreateAllThatIsBrokenOffLeavesWholeRecords"}},
	{"begins a CreateAll although its context is done", func(s *faulty) {
		s.all = func(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
			if _, err := s.Store.CreateAll(context.WithoutCancel(ctx), recs); err != nil {
				return nil, err
			}
			return nil, ctx.Err()
		}
	}, []string{"ADoneContextIsAnError"}},
}

// oneByOne makes a store whose CreateAll calls f for each record.
func oneByOne(f func(*faulty, context.Context, apitoken.Record) (bool, error)) func(*faulty) {
	return func(s *faulty) {
		s.all = func(ctx context.Context, recs []apitoken.Record) (added []bool, err error) {
			for _, rec := range recs {
				ok, err := f(s, ctx, rec)
				if err != nil {
					return nil, err
				}
				added = append(added, ok)
			}
			return added, nil
		}
	}
}
